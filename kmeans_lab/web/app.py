"""The routes. They answer from memory or wait for a worker; none of them computes.

FastAPI, and not Starlette alone: every request is checked against the types that are written here,
and the OpenAPI document follows from the same lines.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import FastAPI, Header, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import kmeans_lab
from kmeans_lab.choosing import KEPT
from kmeans_lab.pages.race import report_page
from kmeans_lab.presets import PRESETS
from kmeans_lab.web.files import Gallery, content_type, etag, packed, static_file
from kmeans_lab.web.middleware import HEADERS, Guards, Names
from kmeans_lab.web.models import Invalid, RaceRequest, RaceState, Trouble, complaints
from kmeans_lab.web.request_limits import Complaint, Limits, Refusal
from kmeans_lab.web.scheduler import Scheduler
from kmeans_lab.web.streams import EventStream, Places

_BUSY: dict[int | str, Any] = {
    503: {"model": Trouble, "description": "busy; Retry-After says when"}
}
_UNKNOWN: dict[int | str, Any] = {404: {"model": Trouble, "description": "not found"}}
_WRONG: dict[int | str, Any] = {422: {"model": Invalid, "description": "one sentence per field"}}
_GUARDED: dict[int | str, Any] = {
    400: {"model": Trouble, "description": "malformed"},
    403: {"model": Trouble, "description": "from another site"},
    408: {"model": Trouble, "description": "too slow"},
    413: {"model": Trouble, "description": "too large"},
    421: {"model": Trouble, "description": "addressed to another host"},
}
Name = Annotated[str, InPath(max_length=64)]
LaneIndex = Annotated[int, InPath(ge=0, le=1023)]
#: Type of the answers that have no model in the OpenAPI document.
Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server was started."""

    names: Names
    studies: Path | None = None
    limits: Limits = field(default_factory=Limits)


def create_app(settings: Settings) -> FastAPI:
    """Return the application; ``app.state.scheduler`` is what computes for it."""
    scheduler = Scheduler(settings.limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        scheduler.prepare()
        yield
        await scheduler.close()

    app = FastAPI(
        title="kmeans_lab",
        description="Races of k-means kernels on the same data from the same start.",
        version=kmeans_lab.__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        responses=_GUARDED,
    )
    app.state.scheduler = scheduler
    app.add_middleware(Guards, names=settings.names, limits=settings.limits)
    _add_troubles(app)
    _add_page(app)
    _add_kernels(app, scheduler)
    _add_workloads(app, settings)
    _add_studies(app, settings)
    _add_races(app, scheduler)
    _add_records(app, scheduler)
    _add_events(app, scheduler)
    return app


def _trouble(status: int, sentence: str, errors: list[Complaint] | None = None) -> Response:
    body: dict[str, object] = {"detail": sentence}
    if status == 422:
        body["errors"] = [{"field": name, "sentence": it} for name, it in errors or ()]
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(body, status, headers)


def _add_troubles(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Response:
        return _trouble(error.status, error.sentence, error.errors)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = complaints(error.errors())
        return _trouble(422, "; ".join(sentence for _, sentence in found), found)

    @app.exception_handler(HTTPException)
    async def not_here(request: Request, error: HTTPException) -> Response:
        sentence = {
            404: f"there is nothing at {request.url.path[:80]}; /openapi.json says what there is",
            405: f"{request.method} is not possible here; /openapi.json says what is",
        }.get(error.status_code, str(error.detail))
        response = _trouble(error.status_code, sentence)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        """Answer before the error is written to stderr; nothing else adds the headers here."""
        what = f"the server failed ({type(error).__name__}); please report what it printed"
        response = _trouble(500, what)
        response.headers.update(HEADERS | {"connection": "close"})  # as uvicorn does then
        return response


def _file(request: Request, path: Path | None, kind: str, cache: str) -> Response:
    if path is None:
        raise HTTPException(404)
    data = path.read_bytes()
    headers = {"ETag": etag(data), "Cache-Control": cache, "Vary": "Accept-Encoding"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    small = None
    if "gzip" in request.headers.get("accept-encoding", "") and kind != "image/png":
        small = packed(data)
    if small is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(data if small is None else small, 200, headers, kind)


def _add_page(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page(request: Request) -> Response:
        path = static_file("index.html")
        return _file(request, path, "text/html; charset=utf-8", "no-cache")

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def static(request: Request, name: str) -> Response:
        path = static_file(name)
        return _file(request, path, content_type(path or Path(name)), "no-cache")


def _add_kernels(app: FastAPI, scheduler: Scheduler) -> None:
    @app.get("/health")
    async def health() -> Document:
        """Say that the server is there, and whether a race is on."""
        return {"ok": True, "version": kmeans_lab.__version__, "racing": scheduler.racing}

    @app.get("/api/kernels", responses=_BUSY)
    async def kernels() -> Sequence[Document]:
        """List the kernels and whether they can run here."""
        return (await scheduler.survey())["kernels"]

    @app.get("/api/kernels/{name}/source", responses=_UNKNOWN | _BUSY | _WRONG)
    async def source(name: Name) -> Document:
        """Return the files that a kernel is written in, where they are here."""
        sources = (await scheduler.survey())["sources"]
        if name not in sources:
            raise Refusal(404, f"there is no kernel {name[:32]!r}; they are at /api/kernels")
        return {"name": name, "files": sources[name]}

    @app.get("/api/kernels/{name}/explain", responses=_UNKNOWN | _BUSY | _WRONG)
    async def explain(name: Name) -> Document:
        """Hold a kernel against the machine's limits; measured when first asked for."""
        return await scheduler.explain(name)

    @app.get("/api/choosing")
    def choosing() -> Document:
        """Return what each tool costs, as it was recorded with this release: see its "machine"."""
        return cast(Document, json.loads(KEPT.read_text(encoding="utf-8")))

    @app.get("/api/ladder", responses=_BUSY)
    async def ladder() -> Document:
        """Climb from plain Python to the limit; measured when first asked for."""
        return await scheduler.ladder()


def _add_workloads(app: FastAPI, settings: Settings) -> None:
    @app.get("/api/presets")
    async def presets() -> Sequence[Document]:
        """List the named workloads within the limits."""
        real = all(find_spec(it) is not None for it in ("sklearn", "PIL"))
        names = ("summary", "n_samples", "n_features", "n_clusters", "max_iter")
        return [
            {"name": name} | {it: getattr(preset, it) for it in names}
            for name, preset in PRESETS.items()
            if (real or not name.endswith(("image", "digits")))
            and preset.max_iter <= settings.limits.iterations
            and not any(
                settings.limits.of_the_data(preset.n_samples, preset.n_features, preset.n_clusters)
            )
        ]

    @app.get("/api/limits")
    async def limits() -> Document:
        """Say what may be asked for."""
        return settings.limits.to_dict()


def _add_studies(app: FastAPI, settings: Settings) -> None:
    gallery = Gallery(settings.studies)

    @app.get("/api/studies")
    def studies() -> Sequence[Document]:
        """List the studies that were run, with their claims and figures."""
        return gallery.studies()

    @app.get(
        "/api/studies/{file}",
        responses=_UNKNOWN | _WRONG | {200: {"content": {"image/png": {}}}},
        response_class=Response,
    )
    def figure(request: Request, file: Annotated[str, InPath(max_length=100)]) -> Response:
        """Return a figure."""
        return _file(request, gallery.picture(file), "image/png", "max-age=60")


def _add_races(app: FastAPI, scheduler: Scheduler) -> None:
    @app.post("/api/races", status_code=202, responses=_BUSY | _WRONG)
    async def start(race: RaceRequest) -> Document:
        """Begin a race."""
        begun = await scheduler.start_race(race)
        return {"id": begun.id, "events": f"/api/races/{begun.id}/events"}

    @app.get("/api/races")
    async def races() -> Sequence[Document]:
        """List the races that are kept, the newest first."""
        return [it.summary() for it in reversed(scheduler.races.values())]

    @app.delete("/api/races/{race_id}", responses=_UNKNOWN | _WRONG)
    async def stop(race_id: Name) -> Document:
        """Stop a race; it is over when this returns."""
        found = scheduler.find(race_id)
        await found.stopped()
        return {"id": race_id, "state": found.state}

    @app.delete("/api/races/{race_id}/lanes/{lane}", responses=_UNKNOWN | _WRONG)
    async def stop_lane(race_id: Name, lane: LaneIndex) -> Document:
        """Stop a lane; the others go on."""
        found = scheduler.find(race_id)
        if lane >= len(found.lanes):
            raise Refusal(404, f"there is no lane {lane} of {len(found.lanes)}; lanes begin at 0")
        await found.stopped(lane)
        return {"id": race_id, "lane": lane, "state": found.lanes[lane].state}


def _add_records(app: FastAPI, scheduler: Scheduler) -> None:
    @app.get("/api/races/{race_id}", responses=_UNKNOWN | _WRONG)
    async def race(race_id: Name) -> RaceState:
        """Return all that is known of a race, but for the pictures."""
        return await _record(scheduler, race_id)

    @app.get(
        "/api/races/{race_id}/report",
        responses=_UNKNOWN | _WRONG | {200: {"content": {"text/html": {}}}},
        response_class=Response,
    )
    async def report(race_id: Name) -> Response:
        """Return a race as one HTML page that needs nothing else."""
        page = report_page((await _record(scheduler, race_id)).model_dump())
        name = f'attachment; filename="kmeans-lab-race-{race_id}.html"'
        return Response(page, 200, {"Content-Disposition": name}, "text/html; charset=utf-8")


def _add_events(app: FastAPI, scheduler: Scheduler) -> None:
    places = Places(scheduler.limits)

    @app.get(
        "/api/races/{race_id}/events",
        responses=_UNKNOWN
        | _BUSY
        | _WRONG
        | {
            200: {"content": {"text/event-stream": {}}},
            204: {"description": "it is over, and all of it was read"},
        },
        response_class=Response,
    )
    async def events(
        race_id: Name, last_event_id: Annotated[int, Header(ge=0, le=2**53)] = 0
    ) -> Response:
        """Stream the events of a race, from the first one or after Last-Event-ID."""
        log = scheduler.find(race_id).log
        if log.ended and last_event_id >= len(log):
            return Response(status_code=204)  # which keeps a browser from asking again
        return EventStream(log, last_event_id, places)


async def _record(scheduler: Scheduler, race_id: str) -> RaceState:
    found = scheduler.find(race_id)
    machine = (await scheduler.survey())["machine"]
    return found.public(machine, kmeans_lab.__version__)
