"""Every setting: its default, its bounds and what it is for.

Here: the list, and the rule that joins some of them (`check_exposure`). Not here: which forms of a value are taken
(`settings_values`), where values come from (`settings_sources`), the page about them (`settings_docs`).
To add a setting, add one entry and run `make docs`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from qwen_gateway.settings_values import (
    Aliases,
    DatabaseUrl,
    DeleteChats,
    FilePath,
    Headers,
    Host,
    HostNames,
    Keys,
    Networks,
    Number,
    Optional,
    Origins,
    Patterns,
    Prefix,
    RedisUrl,
    Seconds,
    Url,
    Word,
    is_loopback,
)

SITE_URL = "https://chat.qwen.ai"
AUTH_URL = "https://auth.qwen.ai"
SHORTEST_KEY = 8
"""Characters that a key must have where other machines can try keys."""


class SettingsError(Exception):
    """The settings cannot be used. `problems`: one plain sentence each, without secrets; together they are the text."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def _user_data() -> Path:
    return platformdirs.user_data_path("qwen-gateway", appauthor=False)


class Settings(BaseModel):
    """All settings, checked. Made by `settings_sources.load`."""

    # An input is hidden in pydantic's own messages: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    # -- where the gateway listens, and for whom
    host: Host = Field(
        default="127.0.0.1",
        description="Address to listen on. The default can be reached from this machine only; any other needs a key.",
    )
    port: Annotated[int, Number] = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on. 0 takes a free one."
    )
    api_keys: Keys = Field(
        default=(),
        description="Keys that clients may use, separated by commas, beside those of `qwen-gateway keys create`. "
        "Without any of either, whoever can reach the port may use your account.",
    )
    pass_through: bool = Field(
        default=False,
        description="Each client sends a Qwen token of its own as its key, and the turn runs on that account.",
    )
    api_prefix: Prefix = Field(
        default="", description="Path before all routes, such as /qwen, for a reverse proxy that does not strip it."
    )
    allowed_origins: Origins = Field(
        default=(),
        description="Web pages that may call the gateway from a browser (CORS), such as https://chat.example.com. "
        "Protects your account from any other page you visit.",
    )
    allowed_hosts: HostNames = Field(
        default=(),
        description="Further host names under which clients reach the gateway. Others are refused, which protects "
        "from web pages that point a name of theirs at this machine.",
    )
    max_body_bytes: Annotated[int, Number] = Field(
        default=33_554_432,
        ge=1024,
        le=2**30,
        description="Largest request that is read, in bytes. Protects the memory.",
    )
    max_in_flight: Annotated[int, Number] = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Requests served at the same time. More are told to come back later.",
    )

    # -- what the gateway writes
    data_dir: FilePath = Field(
        default_factory=_user_data, description="Directory for what must outlive a restart, such as chats to delete."
    )
    database_url: Annotated[DatabaseUrl | None, Optional] = Field(
        default=None,
        description="Database of accounts, keys and usage: postgresql://user:password@host/name. Without one, an "
        "SQLite file in `data_dir`.",
    )
    redis_url: Annotated[RedisUrl | None, Optional] = Field(
        default=None,
        description="Redis that counts requests for several gateways together: redis://host:6379/0. Without one, each "
        "counts for itself.",
    )
    store_timeout: Seconds = Field(
        default=2, description="Seconds that the database or Redis may take, before a request is told that it is down."
    )
    secret_key: Annotated[SecretStr | None, Optional] = Field(
        default=None,
        description="Key that encrypts sessions in the database: 32 random bytes in URL-safe base64; several with "
        "commas, the current one first. Without one, the gateway makes its own.",
    )
    secret_key_store: Annotated[Literal["file", "keyring"], Word] = Field(
        default="file",
        description="Where the gateway keeps a key of its own: file (`secret.key` in `data_dir`), or keyring (that of "
        "the operating system).",
    )
    usage_days: Annotated[int, Number] = Field(
        default=90, ge=1, le=3650, description="Days for which the usage of each request is kept."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Word] = Field(
        default="info", description="What is logged: debug, info, warning or error."
    )
    log_format: Annotated[Literal["auto", "json", "text"], Word] = Field(
        default="auto", description="Form of the log: json, text, or auto (text on a terminal, otherwise json)."
    )
    log_file: Annotated[FilePath | None, Optional] = Field(
        default=None, description="File to log to. Without one, the log goes to standard error."
    )

    # -- the Qwen account
    cookies: Annotated[SecretStr | None, Optional] = Field(
        default=None,
        description="The Cookie header of your logged-in browser at chat.qwen.ai: `name=value; name=value`.",
    )
    token: Annotated[SecretStr | None, Optional] = Field(
        default=None, description="The session's token, when you have no cookies, or one that is newer than theirs."
    )
    user_agent: Annotated[str | None, Optional] = Field(
        default=None,
        description="User-Agent of the browser that the cookies are from. Without one, the gateway names itself.",
    )

    account_concurrency: Annotated[int, Number] = Field(
        default=4,
        ge=1,
        le=100_000,
        description="Answers at the same time on one account. More wait in line. People do not open dozens of chats.",
    )
    account_pace: Annotated[float, Number] = Field(
        default=30,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Answers per minute on one account, in the long run. More wait in line.",
    )
    account_burst: Annotated[int, Number] = Field(
        default=20, ge=1, le=1_000_000, description="Answers that may begin at once, after a quiet while."
    )
    queue_size: Annotated[int, Number] = Field(
        default=64, ge=0, le=100_000, description="Requests that may wait for an account. More are told to come back."
    )
    queue_timeout: Seconds = Field(default=60, description="Seconds that a request may wait for an account.")
    warn_days: Annotated[float, Number] = Field(
        default=3,
        ge=0,
        le=365,
        allow_inf_nan=False,
        description="Days before the end of a session at which the gateway begins to warn: in the log, at /health, and "
        "in the header x-gateway-warning.",
    )

    # -- the site
    site_url: Url = Field(default=SITE_URL, description="Address of the Qwen web chat, or of a simulator.")
    auth_url: Annotated[Url | None, Optional] = Field(
        default=None,
        description=f"Address where sessions are renewed. Without one: {AUTH_URL}, or `site_url` when that is changed.",
    )
    site_version: str = Field(
        default="0.3.12",
        min_length=1,
        max_length=32,
        pattern=r"^[0-9A-Za-z.+_-]+$",
        description="Version of the web client that the site is told. Raise it when the site refuses an old one.",
    )
    site_headers: Headers = Field(
        default={}, description="Headers added to every call to the site, as a table. Names with bx- are refused."
    )

    # -- models
    default_thinking: Annotated[Literal["off", "on", "auto"], Word] = Field(
        default="off",
        description="Whether models think when the client does not say: off, on, or auto (the model's own habit).",
    )
    list_variants: bool = Field(
        default=True, description="List names such as …-thinking and …-search beside each model, for clients' menus."
    )
    aliases: Aliases = Field(
        default={},
        description="Further model names, as a table: name to one or more ids, best first. An empty list removes a "
        "built-in name.",
    )
    models_ttl: Seconds = Field(default=600, description="Seconds for which the site's list of models is kept.")

    # -- chats at the site
    continuation: Annotated[Literal["auto", "replay", "suffix"], Word] = Field(
        default="auto",
        description="Where a conversation goes on: auto (in the chat at the site that holds exactly it, else in a new "
        "one that is told all of it), replay (always in a new one), or suffix (like auto, and else in the one chat "
        "whose last question and answer are the same, whatever came before). A key can have its own.",
    )
    delete_chats: DeleteChats = Field(
        default=24.0,
        description="When to delete the chats that the gateway makes: a number of hours after their last use; now "
        "(after each answer, so that no conversation can be continued); or keep.",
    )
    max_chats: Annotated[int, Number] = Field(
        default=200,
        ge=1,
        le=10_000,
        description="Chats of one account that wait to be continued. Of more, those that were not used for longest are "
        "deleted.",
    )
    changed_instructions: Annotated[Literal["resend", "replay"], Word] = Field(
        default="resend",
        description="When a client changes the system prompt of a conversation: resend (the chat goes on, and is told "
        "the new one) or replay (a new chat is told everything).",
    )
    volatile_lines: Patterns = Field(
        default=("^x-anthropic-billing-header:.*$",),
        description="Lines of a system prompt whose change counts for nothing: a regular expression, or several as a "
        "JSON list; [] for none.",
    )
    verify_unclean: bool = Field(
        default=False,
        description="After an answer that broke off, read the chat at the site, and go on there if it holds exactly "
        "what the client got.",
    )
    shorten_results: bool = Field(
        default=True,
        description="Shorten old results of tools when a conversation would else be too long for a new chat. A header "
        "of the answer says so.",
    )
    max_prompt_bytes: Annotated[int, Number] = Field(
        default=117_000,
        ge=1024,
        le=2**24,
        description="Largest body of a prompt. The site answers larger ones with a challenge for your whole account.",
    )

    # -- files
    max_image_bytes: Annotated[int, Number] = Field(
        default=20_971_520, ge=1024, le=2**31, description="Largest picture, in bytes. The site's own limit is 20 MB."
    )
    max_document_bytes: Annotated[int, Number] = Field(
        default=20_971_520, ge=1024, le=2**31, description="Largest document. The site's own limit is 20 MB."
    )
    max_audio_bytes: Annotated[int, Number] = Field(
        default=104_857_600, ge=1024, le=2**31, description="Largest sound. The site's own limit is 100 MB."
    )
    max_video_bytes: Annotated[int, Number] = Field(
        default=524_288_000, ge=1024, le=2**31, description="Largest video. The site's own limit is 500 MB."
    )
    max_pictures: Annotated[int, Number] = Field(
        default=10,
        ge=1,
        le=16,  # with `max_documents` and a document of ours: each takes 4,000 bytes of `max_prompt_bytes`
        description="Pictures in one message. The site's page takes 5, the site itself took 7.",
    )
    max_documents: Annotated[int, Number] = Field(
        default=5, ge=1, le=8, description="Documents in one message, as many as the site's page takes."
    )
    inline_text_bytes: Annotated[int, Number] = Field(
        default=32_768,
        ge=0,
        le=2**20,
        description="Text files up to this size are put into the message itself, where models read them better than "
        "as an attached document.",
    )
    long_conversations: Annotated[Literal["document", "refuse"], Word] = Field(
        default="document",
        description="When a conversation is too long for one message: document (its oldest part is attached as a text "
        "file; a header of the answer says so) or refuse.",
    )
    fetch_urls: Annotated[Literal["public", "off"], Word] = Field(
        default="public",
        description="Whether files are fetched from addresses that clients give: public (from public addresses, and "
        "from `fetch_networks`) or off.",
    )
    fetch_networks: Networks = Field(
        default=(),
        description="Further networks that files may be fetched from, such as 192.168.1.0/24, separated by commas. "
        "Whoever has a key can then read what is served there.",
    )
    fetch_timeout: Seconds = Field(default=60, description="Seconds that fetching a file may take.")
    multipart_above: Annotated[int, Number] = Field(
        default=5_000_000,
        ge=100_000,
        le=2**31,
        description="Files of more bytes are uploaded in parts, each of which is tried again by itself.",
    )
    uploads_at_once: Annotated[int, Number] = Field(
        default=4, ge=1, le=1000, description="Files uploaded to the site at the same time."
    )
    upload_timeout: Annotated[float, Number] = Field(
        default=1800,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds that uploading the files of a turn may take.",
    )
    parse_timeout: Seconds = Field(default=120, description="Seconds that the site may take to read a document.")
    reuse_uploads: Annotated[float, Number] = Field(
        default=3600,
        ge=0,
        le=43_200,
        allow_inf_nan=False,
        description="Seconds for which a file that was uploaded is used again. The site leaves out what it no longer "
        "has without a word, so this is short.",
    )
    spool_bytes: Annotated[int, Number] = Field(
        default=2_000_000_000,
        ge=1024,
        le=2**40,
        description="Room on disk for files on their way, in bytes, in `data_dir`. At least that of the largest file.",
    )
    file_days: Annotated[float, Number] = Field(
        default=30,
        gt=0,
        le=3650,
        allow_inf_nan=False,
        description="Days for which files of /v1/files are kept, unless the client says less.",
    )
    max_kept_bytes: Annotated[int, Number] = Field(
        default=10_000_000_000, ge=0, le=2**50, description="Bytes of files that each key may keep at /v1/files."
    )

    # -- tools and parameters
    tool_format: Annotated[Literal["bracket", "raw", "hermes"], Word] = Field(
        default="bracket",
        description="How models are taught to call tools: bracket (JSON between markers), raw (values without quotes, "
        "for code), or hermes (the form that Qwen models were trained on, which the site may take for its own). All "
        "are read.",
    )
    tool_arguments: Annotated[Literal["hybrid", "complete", "eager"], Word] = Field(
        default="hybrid",
        description="When the arguments of a tool call reach the client: complete (once the call is whole and "
        "checked), eager (as they come), or hybrid (complete, but long ones as they come).",
    )
    agent_nudge: bool = Field(
        default=True,
        description="Ask a model once more that, after a tool's result, announces an action and calls no tool.",
    )
    show_site_tools: bool = Field(
        default=False, description="Say in the reasoning where the site uses tools of its own, such as its search."
    )
    strict_params: bool = Field(
        default=False,
        description="Refuse a request that has anything in it that would be ignored, such as temperature, instead of "
        "naming it in the header x-gateway-ignored.",
    )

    # -- patience
    connect_timeout: Seconds = Field(default=5, description="Seconds for a connection to the site.")
    call_timeout: Seconds = Field(
        default=30, description="Seconds for a small call to the site, such as making a chat."
    )
    first_event_timeout: Seconds = Field(default=60, description="Seconds until an answer has to begin.")
    first_event_timeout_thinking: Seconds = Field(default=180, description="The same, for a model that thinks first.")
    idle_timeout: Seconds = Field(
        default=60, description="Seconds that an answer may pause, before it counts as broken."
    )
    total_timeout: Seconds = Field(default=900, description="Seconds that a whole answer may take.")
    write_timeout: Seconds = Field(
        default=30, description="Seconds that a client may leave an answer unread, before the gateway hangs up."
    )
    heartbeat: Seconds = Field(
        default=10,
        description="Seconds of silence after which a streaming client gets a sign of life, so that it stays.",
    )
    drain_seconds: Seconds = Field(
        default=30, description="Seconds that running answers get to finish when the gateway stops."
    )
    longest_rest: Seconds = Field(
        default=86_400,
        description="Most seconds that an account or a model of it is left alone, whatever the site said. It is asked "
        "again after that.",
    )
    challenge_rest: Seconds = Field(
        default=120,
        description="Seconds to leave the site alone after it asked for a person. Asking on makes it worse.",
    )

    @property
    def effective_auth_url(self) -> str:
        """Where sessions are renewed."""
        return self.auth_url or (AUTH_URL if self.site_url == SITE_URL else self.site_url)

    def check_room(self) -> None:
        """Refuses to let in files that would never fit into the spool: clients would try again and again. Raises
        SettingsError."""
        name = max(_LARGEST_FILES, key=lambda each: getattr(self, each))
        if (most := getattr(self, name)) > self.spool_bytes:
            raise SettingsError([_NO_ROOM.format(spool=self.spool_bytes, name=name, most=most)])

    def check_exposure(self, *, stored_keys: bool) -> None:
        """Refuses to offer the account to a whole network. stored_keys: the database has keys. Raises SettingsError."""
        if is_loopback(self.host):
            return
        if not self.api_keys and not self.pass_through and not stored_keys:
            raise SettingsError([_NO_KEY.format(host=self.host)])
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in self.api_keys):
            raise SettingsError([_SHORT_KEY.format(host=self.host, shortest=SHORTEST_KEY)])


_LARGEST_FILES = ("max_video_bytes", "max_audio_bytes", "max_document_bytes", "max_image_bytes")
_NO_ROOM = (
    "spool_bytes is {spool:,}, and {name} lets in files of {most:,} bytes, for which there would never be room. Raise "
    "spool_bytes, or lower {name}."
)
_NO_KEY = (
    "refusing to start on {host} without a key: everyone who can reach this machine could use your Qwen account. "
    "Make a key with `qwen-gateway keys create`, or listen on 127.0.0.1."
)
_SHORT_KEY = (
    "refusing to start on {host} with a key of fewer than {shortest} characters: it could be guessed. "
    "Set QWEN_GATEWAY_API_KEYS to a long random text, or listen on 127.0.0.1."
)
