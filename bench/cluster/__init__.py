"""What a pass over a cluster costs beside its arithmetic: ``python -m bench.cluster``."""
