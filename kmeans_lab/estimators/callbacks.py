"""Report a fit to scikit-learn's callbacks: its repetitions and iterations, each as a task.

The protocol is that of ``sklearn.callback``, new in scikit-learn 1.9. The tree of tasks is
fit → iteration or, where n_init > 1, fit → repetition → iteration.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from kmeans_lab.crews.forks import generation, refuse_elsewhere
from kmeans_lab.driver import Run
from kmeans_lab.kernel import Array
from kmeans_lab.stopping import Step
from kmeans_lab.weights import absolute

try:
    from sklearn.callback import CallbackSupportMixin as Callbacks
except ImportError:  # a scikit-learn without callbacks: an estimator without set_callbacks

    class Callbacks:  # type: ignore[no-redef]
        """Nothing."""


__all__ = ["Callbacks", "FitTasks", "Fitted", "fitted"]

#: The attributes that make an estimator a fitted one, by name.
Fitted = dict[str, Any]


def fitted(centers: Array, labels: Any, inertia: float, n_iter: int) -> Fitted:
    """Return the attributes of an estimator that found these."""
    return {
        "cluster_centers_": centers,
        "labels_": labels,
        "inertia_": inertia,
        "n_iter_": n_iter,
    }


class FitTasks:
    """The tasks of one fit, as told to the callbacks that were set on its estimator.

    A callback that returns True at the end of an iteration ends the repetition; at the end of a
    repetition, it ends the fit.

    Parameters
    ----------
    estimator : KMeans
        The estimator whose ``max_iter`` and callbacks are used.
    n_init : int
        Repetitions.
    fitted_after : callable
        ``(step, n_iter) -> Fitted``: the estimator as if the fit had ended there. Called only for
        callbacks that ask for a fitted estimator.
    exponent : int
        Results give the inertia in units of 2 to this power.
    **data
        The X, y and metadata of each task.
    """

    def __init__(
        self,
        estimator: Any,
        n_init: int,
        fitted_after: Callable[[Step, int], Fitted],
        exponent: int,
        **data: Any,
    ) -> None:
        self._n_init, self._max_iter = n_init, int(estimator.max_iter)
        self._fitted_after, self._exponent = fitted_after, exponent
        self._data = {"estimator": estimator, **data}
        self._begun = generation()
        self._fit = estimator._init_callback_context(
            max_subtasks=n_init if n_init > 1 else self._max_iter
        )
        self._begin(self._fit)

    def begin(self) -> None:
        """Begin a repetition, and its first iteration."""
        self._repetition = self._fit
        if self._n_init > 1:
            self._repetition = self._fit.subcontext("repetition", max_subtasks=self._max_iter)
            self._begin(self._repetition)
        self._n_iter = 0
        self._next_iteration(None)

    def end(self, run: Run) -> bool:
        """End a repetition; return True where a callback ends the fit."""
        if self._n_init == 1:
            return False
        inertia = absolute(run.inertia, self._exponent)
        found = run.centers.copy(), run.labels.copy()  # callbacks may write to them
        return self._end(self._repetition, fitted(*found, inertia, run.n_iter))

    def iterated(self, step: Step, *, last: bool) -> bool:
        """End an iteration, and begin the next unless it was the last; True: a callback stops."""
        self._n_iter += 1
        here = cache(lambda: self._fitted_after(step, self._n_iter))
        stop = self._end(self._iteration, here)
        if not (last or stop or self._n_iter == self._max_iter):
            self._next_iteration(here)
        return stop

    def finish(self) -> None:
        """End the fit, whose attributes the estimator has by now; callbacks see copies."""
        have = vars(self._data["estimator"])
        self._end(
            self._fit, lambda: {name: have[name].copy() for name in ("cluster_centers_", "labels_")}
        )

    def _next_iteration(self, attributes: Any) -> None:
        self._iteration = self._repetition.subcontext("iteration")
        self._begin(self._iteration, attributes)

    def _begin(self, task: Any, attributes: Any = None) -> None:
        task.call_on_fit_task_begin(**self._data, reconstruction_attributes=attributes)
        refuse_elsewhere(self._begun)

    def _end(self, task: Any, attributes: Any) -> bool:
        stop = task.call_on_fit_task_end(**self._data, reconstruction_attributes=attributes)
        refuse_elsewhere(self._begun)
        return bool(stop)
