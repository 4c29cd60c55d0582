"""Keys that clients call with. A key's text is in the answer that made it, and nowhere else."""

from typing import Any

from pydantic import Field

from qwen_gateway.relay.management import Management
from qwen_gateway.relay.ports import Continuation, Role
from qwen_gateway.server.admin.mistakes import Body, Shown
from qwen_gateway.server.admin.routes import Routes

_ROLE = "client: takes turns. viewer: also sees what is under /api/admin. admin: also changes it."

_CONTINUATION = (
    "auto: goes on in the chat at the site that holds exactly this conversation. replay: a new chat for each turn. "
    "suffix: like auto, and else in the one chat whose last question and answer are the same. null: as the setting "
    "`continuation` says."
)


class _Terms(Body):
    """Bounds of the values are the relay's to judge, which says what is wrong with them."""

    expires_at: float | None = Field(default=None, description="Seconds since 1970; null: never.")
    models: list[str] = Field(default=[], max_length=1000, description="Names or patterns (`qwen3*`); none: all.")
    endpoints: list[str] = Field(default=[], max_length=1000, description="Names such as `openai_chat`; none: all.")
    requests_per_minute: int | None = None
    concurrency: int | None = Field(default=None, description="Requests at the same time.")
    tokens_per_day: int | None = Field(default=None, description="From midnight to midnight UTC.")
    continuation: Continuation | None = Field(default=None, description=_CONTINUATION)


class NewKey(_Terms):
    name: str
    role: Role = Field(default="client", description=_ROLE)


class KeyChange(_Terms):
    """What is left out stays as it is; null takes a limit away."""

    name: str = ""
    role: Role = Field(default="client", description=_ROLE)
    enabled: bool = True


class Key(Shown):
    id: str
    name: str
    role: Role
    created_at: float
    expires_at: float | None
    enabled: bool
    models: list[str]
    endpoints: list[str]
    requests_per_minute: int | None
    concurrency: int | None
    tokens_per_day: int | None
    continuation: Continuation | None
    tokens_today: int = Field(description="Used since midnight UTC.")


class KeyList(Shown):
    keys: list[Key]


class KeyWithText(Shown):
    text: str = Field(description="The key itself. It cannot be shown again.")
    key: Key


class KeyPages:
    def __init__(self, management: Management) -> None:
        self._management = management

    def add_to(self, routes: Routes) -> None:
        one = "/keys/{key}"
        routes.add("viewer", "GET", "/keys", self.all, shows=KeyList)
        routes.add("admin", "POST", "/keys", self.create, shows=KeyWithText, status=201)
        routes.add("viewer", "GET", one, self.one, shows=Key)
        routes.add("admin", "PATCH", one, self.change, shows=Key)
        routes.add("admin", "POST", f"{one}/rotate", self.rotate, shows=KeyWithText)

    async def all(self) -> KeyList:
        """All stored keys, oldest first.

        Keys of the settings are not among them.
        """
        return KeyList.model_validate({"keys": await self._management.keys()})

    async def create(self, body: NewKey) -> KeyWithText:
        """Make a key."""
        terms: Any = _given(body)
        text, key = await self._management.create_key(**terms)
        return KeyWithText.model_validate({"text": text, "key": key})

    async def one(self, key: str) -> Key:
        """One key, by its id or name."""
        return Key.model_validate(await self._management.key(key))

    async def change(self, key: str, body: KeyChange) -> Key:
        """Change a key, or disable or enable it.

        Fields that are left out stay as they are; null takes a limit away. Keys are disabled rather than deleted, since
        usage refers to them.
        """
        terms: Any = _given(body)
        enabled: bool | None = terms.pop("enabled", None)
        view = await (self._management.change_key(key, **terms) if terms else self._management.key(key))
        if enabled is not None:
            view = await self._management.set_key_enabled(view.id, enabled)
        return Key.model_validate(view)

    async def rotate(self, key: str) -> KeyWithText:
        """A new text for the same key.

        The old one stops to work at once.
        """
        text, view = await self._management.rotate_key(key)
        return KeyWithText.model_validate({"text": text, "key": view})


def _given(body: _Terms) -> dict[str, Any]:
    """The fields that the request has, those without a value too."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
