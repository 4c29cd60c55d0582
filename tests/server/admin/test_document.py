"""The management API in the OpenAPI document."""

from typing import Any

from qwen_gateway.server.admin.routes import PREFIX, TAG, AdminRoute

from .bench import Bench


def document() -> tuple[Bench, dict[str, Any]]:
    bench = Bench()
    return bench, bench.framework.openapi()


def test_every_route_is_documented_with_its_role_and_key() -> None:
    bench, told = document()
    routes = [route for route in bench.framework.router.routes if isinstance(route, AdminRoute)]
    documented = {
        (path, method): operation
        for path, methods in told["paths"].items()
        if path.startswith(PREFIX)
        for method, operation in methods.items()
    }
    shown = [route for route in routes if route.include_in_schema]
    assert len(documented) == len(shown) >= 19
    for route in shown:
        assert route.methods is not None
        (method,) = route.methods
        operation = documented[route.path, method.lower()]
        assert operation["x-role"] == route.role
        assert f"`{route.role}`" in operation["description"]
        assert operation["tags"] == [TAG]
        assert operation["security"] == [{"key": []}]
        assert operation["summary"]
        assert "422" not in operation["responses"]
        success = operation["responses"]["201" if "201" in operation["responses"] else "200"]
        assert "$ref" in success["content"]["application/json"]["schema"], route.path


def test_bodies_refuse_what_they_do_not_name() -> None:
    _, told = document()
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, methods in told["paths"].items()
        if path.startswith(PREFIX)
        for operation in methods.values()
        if "requestBody" in operation
    ]
    assert sorted(bodies) == ["Groups", "KeyChange", "NewAccount", "NewKey"]
    for name in bodies:
        assert told["components"]["schemas"][name]["additionalProperties"] is False


def test_what_takes_anything_else_is_not_documented() -> None:
    _, told = document()
    assert not any("rest" in path for path in told["paths"] if "restore" not in path)
