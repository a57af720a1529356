"""The server asked everything that its OpenAPI document allows, and much that it does not."""

import warnings

import pytest
from hypothesis import HealthCheck, settings

from kmeans_lab.web.app import Settings, create_app
from kmeans_lab.web.middleware import Names
from tests.support.web import serving

with warnings.catch_warnings():
    # schemathesis 4.32 imports names that its own dependencies have moved.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

#: Not among them: that all which the document allows is accepted. Field by field it is; together it
#: may be too much (more clusters than rows), which no document can say and 422 does.
CHECKS = (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)


def document():
    return create_app(Settings(Names("127.0.0.1", 80))).openapi()


def aimed():
    """Return the document with names that exist, so that draws get past them."""
    it = document()
    schemas = it["components"]["schemas"]
    schemas["LaneRequest"]["properties"]["kernel"]["enum"] = ["python", "cpp", "numpy", "cpp-simd"]
    schemas["PresetWorkload"]["properties"]["preset"]["enum"] = [
        "smoke",
        "smoke-grid",
        "smoke-wide",
    ]
    return it


# The ladder takes five seconds, and there is nothing to ask it.
schema = schemathesis.openapi.from_dict(aimed()).exclude(path="/api/ladder")


@pytest.fixture(scope="module")
def client():
    with serving(rows=300, values=3000, pairs=10_000_000, seconds=5.0) as it:
        it.known = it.race("cpp")
        list(it.events(it.known))
        it.answers = set()
        yield it


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_makes_it_fail(case, client):
    response = case.call(base_url=str(client.base_url))
    client.answers.add((case.method, case.path, response.status_code))
    if response.status_code >= 500:  # busy, or ending: both are documented
        assert response.status_code == 503
        assert response.json()["detail"]
        assert response.headers["retry-after"]
    case.validate_response(response, checks=CHECKS)
    if response.status_code == 202:
        client.delete(f"/api/races/{response.json()['id']}")
    if "race_id" in case.path_parameters:  # the same of a race that is there
        case.path_parameters["race_id"] = client.known
        assert case.call(base_url=str(client.base_url)).status_code < 500


def test_the_draws_got_past_the_guards(client):
    assert ("POST", "/api/races", 202) in client.answers
    assert ("POST", "/api/races", 422) in client.answers
    assert not any(status in (403, 421) for _, _, status in client.answers)


def test_the_document_names_every_route_and_every_refusal():
    paths = document()["paths"]
    assert set(paths) == {
        "/health",
        "/api/kernels",
        "/api/kernels/{name}/source",
        "/api/kernels/{name}/explain",
        "/api/presets",
        "/api/limits",
        "/api/choosing",
        "/api/ladder",
        "/api/studies",
        "/api/studies/{file}",
        "/api/races",
        "/api/races/{race_id}",
        "/api/races/{race_id}/report",
        "/api/races/{race_id}/events",
        "/api/races/{race_id}/lanes/{lane}",
    }
    refusals = {"202", "400", "403", "408", "413", "421", "422", "503"}
    assert set(paths["/api/races"]["post"]["responses"]) == refusals
