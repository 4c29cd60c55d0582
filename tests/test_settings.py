"""Settings: what is taken, what is refused and how it is said, and which source wins."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from qwen_gateway.media.limits import Limits
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.settings_docs import env_example, settings_page
from qwen_gateway.settings_sources import LEGACY, MASK, Loaded, describe, load
from qwen_gateway.store.database import Database
from qwen_gateway.upstreams.qwen.body import room

ROOT = Path(__file__).parents[1]
SECRET = "canary-5f1c"


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    return tmp_path


def loaded(
    cwd: Path,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: str | None = None,
    toml: str | None = None,
) -> Loaded:
    if dotenv is not None:
        (cwd / ".env").write_text(dotenv, encoding="utf-8")
    if toml is not None:
        (cwd / "qwen-gateway.toml").write_text(toml, encoding="utf-8")
    return load(flags or {}, environ or {}, cwd)


def problems(
    cwd: Path,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    dotenv: str | None = None,
    toml: str | None = None,
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        loaded(cwd, flags, environ, dotenv=dotenv, toml=toml)
    assert str(caught.value).split("\n") == list(caught.value.problems)
    return caught.value.problems


# ---- sources


def test_without_any_source_everything_is_its_default(cwd: Path) -> None:
    result = load({}, {}, cwd)
    assert result.settings == Settings()
    assert set(result.origins) == set(Settings.model_fields)
    assert set(result.origins.values()) == {"default"}


def test_defaults_satisfy_their_own_bounds() -> None:
    defaults = {name: getattr(Settings(), name) for name in Settings.model_fields}
    assert Settings.model_validate(defaults) == Settings()


def test_the_most_files_that_can_be_set_leave_room_for_a_text() -> None:
    settings, limits = Settings.model_validate({"max_pictures": 16, "max_documents": 8}), Limits()
    files = settings.max_pictures + settings.max_documents + limits.sounds + limits.videos
    assert room(settings.max_prompt_bytes, files + 1) > 5_000  # beside the document of a long conversation
    for name in ("max_pictures", "max_documents"):
        with pytest.raises(ValidationError):
            Settings.model_validate({name: getattr(settings, name) + 1})


SOURCES = ["flag --port", "environment QWEN_GATEWAY_PORT", ".env QWEN_GATEWAY_PORT", "qwen-gateway.toml port"]


@pytest.mark.parametrize("missing", range(len(SOURCES)))
def test_the_first_source_that_has_a_value_wins(cwd: Path, missing: int) -> None:
    result = loaded(
        cwd,
        {"port": 1 if missing < 1 else None},
        {"QWEN_GATEWAY_PORT": "2"} if missing < 2 else {},
        dotenv="QWEN_GATEWAY_PORT=3" if missing < 3 else None,
        toml="port = 4",
    )
    assert (result.settings.port, result.origins["port"]) == (missing + 1, SOURCES[missing])


def test_set_flags_reach_every_setting_and_lose_against_a_flag_of_their_own(cwd: Path) -> None:
    result = load({"set": ["idle-timeout=7", "port=1", "api_prefix="], "port": 2}, {}, cwd)
    assert (result.settings.idle_timeout, result.settings.port) == (7, 2)
    assert result.origins["idle_timeout"] == "flag --set idle_timeout"
    assert result.origins["port"] == "flag --port"


@pytest.mark.parametrize("way", ["flag", "environment", ".env"])
def test_another_toml_file_can_be_named(cwd: Path, way: str) -> None:
    (cwd / "mine.toml").write_text("port = 5")
    result = loaded(
        cwd,
        {"config": "mine.toml"} if way == "flag" else {},
        {"QWEN_GATEWAY_CONFIG": "mine.toml"} if way == "environment" else {},
        dotenv="QWEN_GATEWAY_CONFIG=mine.toml" if way == ".env" else None,
        toml="port = 6",
    )
    assert (result.settings.port, result.origins["port"]) == (5, "mine.toml port")


def test_a_toml_file_that_is_named_must_be_there(cwd: Path) -> None:
    assert problems(cwd, {"config": "gone.toml"}) == ("gone.toml: cannot be read: No such file or directory.",)


def test_the_process_environment_is_not_read(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_GATEWAY_PORT", "1")
    monkeypatch.setenv("QWEN_COOKIES", "a=1")
    monkeypatch.chdir(ROOT)
    assert load({}, {}, cwd).settings == Settings()


def test_a_blank_variable_counts_as_not_set(cwd: Path) -> None:
    environ = {"QWEN_GATEWAY_PORT": "", "QWEN_GATEWAY_API_KEYS": " ", "QWEN_COOKIES": ""}
    assert load({}, environ, cwd).settings == Settings()


def test_values_of_dotenv_are_taken_as_they_stand(cwd: Path) -> None:
    text = "\ufeffexport QWEN_GATEWAY_COOKIES='a=1; b=${HOME}; c=x#y' # mine\nPLAIN\n"
    cookies = loaded(cwd, environ={"HOME": "nowhere"}, dotenv=text).settings.cookies
    assert cookies == SecretStr("a=1; b=${HOME}; c=x#y")


def test_paths_start_at_the_given_directory(cwd: Path) -> None:
    settings = load({"data_dir": "state", "log_file": "/var/log/q.log"}, {}, cwd).settings
    assert (settings.data_dir, settings.log_file) == (cwd / "state", Path("/var/log/q.log"))


# ---- names that are not ours


def test_unknown_names_are_refused_with_a_near_one(cwd: Path) -> None:
    found = problems(
        cwd,
        {"set": ["prot=1", SECRET, f"{SECRET}=="]},
        {"QWEN_GATEWAY_HOSTS": "x", "qwen_gateway_port": "1"},
        dotenv="QWEN_GATEWAY_COOKIE=canary-5f1c",
        toml="log-level = 'info'\nzzzzzzzz = 1",
    )
    assert found == (
        "log-level (qwen-gateway.toml): there is no such setting. Did you mean log_level?",
        "zzzzzzzz (qwen-gateway.toml): there is no such setting. `qwen-gateway settings` lists all.",
        "QWEN_GATEWAY_COOKIE (.env): there is no such setting. Did you mean QWEN_GATEWAY_COOKIES?",
        "QWEN_GATEWAY_HOSTS (environment): there is no such setting. Did you mean QWEN_GATEWAY_HOST?",
        "qwen_gateway_port (environment): there is no such setting. Did you mean QWEN_GATEWAY_PORT?",
        "--set prot: there is no such setting. Did you mean port?",
        "--set: write it as --set name=value.",
        "--set: write it as --set name=value.",
    )


def test_variables_of_other_programs_are_their_business(cwd: Path) -> None:
    assert (
        loaded(cwd, environ={"PORT": "x", "QWEN_X": "y"}, dotenv="HOST=z\nQWEN_MODEL=m\nits own way").settings
        == Settings()
    )


def test_what_kubernetes_sets_for_a_service_of_our_name_is_not_for_us(cwd: Path) -> None:
    environ = {
        "QWEN_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "QWEN_GATEWAY_SERVICE_PORT": "8000",
        "QWEN_GATEWAY_SERVICE_PORT_HTTP": "8000",
        "QWEN_GATEWAY_PORT": "tcp://10.0.0.1:8000",
        "QWEN_GATEWAY_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "QWEN_GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert load({}, environ, cwd).settings == Settings()


# ---- names of earlier bridges


@pytest.mark.parametrize("where", ["environment", ".env"])
@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("QWEN_COOKIES", "a=1", "cookies", SecretStr("a=1")),
        ("QWEN_AUTH_TOKEN", "t", "token", SecretStr("t")),
        ("QWEN_API_KEY", "t", "token", SecretStr("t")),
        ("VALID_TOKENS", "one,two", "api_keys", (SecretStr("one"), SecretStr("two"))),
        ("VALID_TOKENS", '["one", "two"]', "api_keys", (SecretStr("one"), SecretStr("two"))),
        ("API_PREFIX", "x/", "api_prefix", "/x"),
        ("IS_DELETE", "true", "delete_chats", "now"),
        ("IS_DELETE", "On", "delete_chats", "now"),
        ("IS_DELETE", "0", "delete_chats", "keep"),
    ],
)
def test_older_names_work(cwd: Path, where: str, variable: str, text: str, name: str, value: object) -> None:
    written = f"{variable}='{text}'"
    result = loaded(cwd, dotenv=written) if where == ".env" else load({}, {variable: text}, cwd)
    assert getattr(result.settings, name) == value
    assert result.origins[name] == f"{where} {variable}"


def test_an_older_name_that_counts_for_nothing_may_say_anything(cwd: Path) -> None:
    environ = {"IS_DELETE": "later", "QWEN_GATEWAY_DELETE_CHATS": "keep"}
    assert load({}, environ, cwd).settings.delete_chats == "keep"


def test_every_older_name_is_tested_above() -> None:
    assert set(LEGACY) == {
        *("QWEN_COOKIES", "QWEN_AUTH_TOKEN", "QWEN_API_KEY", "VALID_TOKENS", "API_PREFIX", "IS_DELETE")
    }


@pytest.mark.parametrize("source", ["flag", "environment", "dotenv", "toml"])
def test_our_name_wins_over_an_older_one_wherever_it_is(cwd: Path, source: str) -> None:
    result = loaded(
        cwd,
        {"token": "ours"} if source == "flag" else {},
        {"QWEN_API_KEY": "old"} | ({"QWEN_GATEWAY_TOKEN": "ours"} if source == "environment" else {}),
        dotenv="QWEN_GATEWAY_TOKEN=ours" if source == "dotenv" else None,
        toml="token = 'ours'" if source == "toml" else None,
    )
    assert result.settings.token == SecretStr("ours")


def test_the_auth_token_comes_before_the_api_key(cwd: Path) -> None:
    result = load({}, {"QWEN_API_KEY": "second", "QWEN_AUTH_TOKEN": "first"}, cwd)
    assert result.settings.token == SecretStr("first")


def test_an_older_name_with_a_value_of_neither_kind_is_refused(cwd: Path) -> None:
    assert problems(cwd, environ={"IS_DELETE": "later"}) == (
        "delete_chats (environment IS_DELETE): should be true or false.",
    )


# ---- values


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("host", "[::1]", "::1"),
        ("port", "0", 0),
        ("port", "65535", 65_535),
        ("api_keys", " a , b,", (SecretStr("a"), SecretStr("b"))),
        ("api_keys", '["a,b"]', (SecretStr("a,b"),)),
        ("pass_through", "yes", True),
        ("api_prefix", "/", ""),
        ("api_prefix", "//a/b.c/", "/a/b.c"),
        ("allowed_origins", "https://A.example/, *", ("https://a.example", "*")),
        ("allowed_origins", "vscode-webview://x", ("vscode-webview://x",)),
        ("allowed_hosts", "Box.lan", ("box.lan",)),
        ("log_level", "DEBUG", "debug"),
        ("site_url", "http://127.0.0.1:8100/", "http://127.0.0.1:8100"),
        ("site_headers", '{"X-A": "1"}', {"X-A": "1"}),
        ("aliases", '{"a": "b", "c": ["d", "e"], "gpt-4o": []}', {"a": ("b",), "c": ("d", "e"), "gpt-4o": ()}),
        ("delete_chats", "Keep", "keep"),
        ("delete_chats", "24", 24.0),
        ("delete_chats", "0.5h", 0.5),
        ("continuation", "Suffix", "suffix"),
        ("changed_instructions", "REPLAY", "replay"),
        ("max_chats", "10000", 10_000),
        ("volatile_lines", "^now: .{1,30}$", ("^now: .{1,30}$",)),
        ("volatile_lines", "[a-z],[0-9]", ("[a-z],[0-9]",)),
        ("volatile_lines", '["^a", "b,c"]', ("^a", "b,c")),
        ("volatile_lines", " [ ] ", ()),
        ("verify_unclean", "yes", True),
        ("shorten_results", "off", False),
        ("idle_timeout", "2.5", 2.5),
    ],
)
def test_forms_that_a_value_may_have(cwd: Path, name: str, text: str, value: object) -> None:
    environ = {f"QWEN_GATEWAY_{name.upper()}": text}
    assert getattr(load({}, environ, cwd).settings, name) == value
    if name != "api_keys":
        assert getattr(load({"set": [f"{name}={text}"]}, {}, cwd).settings, name) == value


def test_toml_has_forms_of_its_own(cwd: Path) -> None:
    toml = """
        api_keys = ["k"]
        delete_chats = 2
        volatile_lines = ["^a", "^b"]
        [site_headers]
        X-A = "1"
        [aliases]
        a = "b"
        c = ["d"]
    """
    settings = loaded(cwd, toml=toml).settings
    assert settings.api_keys == (SecretStr("k"),)
    assert settings.delete_chats == 2.0
    assert settings.volatile_lines == ("^a", "^b")
    assert settings.site_headers == {"X-A": "1"}
    assert settings.aliases == {"a": ("b",), "c": ("d",)}


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("host", "http://x", "should be an address such as 127.0.0.1"),
        ("port", "abc", "should be a whole number; it is 'abc'."),
        ("port", "65536", "should be at most 65535; it is '65536'."),
        ("port", "-1", "should be at least 0; it is '-1'."),
        ("api_keys", "a,,b", "one of the keys is empty"),
        ("api_keys", '["a", ""]', "one of the keys is empty"),
        ("api_keys", '["a"', "the JSON cannot be read"),
        ("api_keys", '["a b"]', "no spaces"),
        ("pass_through", "perhaps", "should be true or false; it is 'perhaps'."),
        ("api_prefix", "/a/../b", "should be a path such as /qwen"),
        ("api_prefix", "/a?b", "should be a path such as /qwen"),
        ("allowed_origins", "example.com", "each should be like https://example.com"),
        ("allowed_hosts", "https://x", "without http:// and path"),
        ("max_body_bytes", "1", "should be at least 1024"),
        ("log_level", "loud", "should be 'debug', 'info', 'warning' or 'error'; it is 'loud'."),
        ("site_url", "chat.qwen.ai", "should be an address such as https://chat.qwen.ai"),
        ("site_url", "https://a:canary-5f1c@b", "without user name"),
        ("site_url", "https://a:99999", "should be an address"),
        ("auth_url", "ftp://x", "should be an address"),
        ("site_version", "a b", "should match"),
        ("site_headers", '{"Bx-Ua": "canary-5f1c"}', "fingerprint headers are never sent"),
        ("site_headers", '{"a b": "canary-5f1c"}', "plain ASCII"),
        ("site_headers", "canary-5f1c", "the JSON cannot be read"),
        ("aliases", "[1]", "should be a table"),
        ("delete_chats", "never", "should be now, keep, or a number of hours"),
        ("delete_chats", "0", "should be now, keep, or a number of hours"),
        ("continuation", "perhaps", "should be 'auto', 'replay' or 'suffix'; it is 'perhaps'."),
        ("changed_instructions", "ignore", "should be 'resend' or 'replay'"),
        ("max_chats", "0", "should be at least 1"),
        ("max_chats", "10001", "should be at most 10000"),
        ("volatile_lines", "^a(b", "'^a(b' is no regular expression (missing ), unterminated subpattern"),
        ("volatile_lines", '["^a", "b**"]', "'b**' is no regular expression (multiple repeat"),
        ("volatile_lines", '["^a", ""]', "one of the patterns is empty"),
        ("volatile_lines", '["^a"', "the JSON cannot be read"),
        ("volatile_lines", "[[a]]", "'[[a]]' is no regular expression (Possible nested set"),
        ("volatile_lines", "a{99999999999999999999}", "is no regular expression"),
        ("heartbeat", "0", "should be greater than 0"),
        ("heartbeat", "nan", "should be"),
        ("heartbeat", "inf", "should be"),
    ],
)
def test_values_that_are_refused(cwd: Path, name: str, text: str, what: str) -> None:
    variable = f"QWEN_GATEWAY_{name.upper()}"
    (said,) = problems(cwd, environ={variable: text})
    assert said.startswith(f"{name} (environment {variable}): ")
    assert what in said
    assert SECRET not in said
    assert said.endswith(".")


@pytest.mark.parametrize("line", ["port = true", "heartbeat = false", "delete_chats = true", "cookies = 5"])
def test_toml_values_of_the_wrong_type_are_refused(cwd: Path, line: str) -> None:
    (said,) = problems(cwd, toml=line)
    assert said.startswith(line.partition(" ")[0])


def test_every_problem_is_told_at_once_and_no_secret(cwd: Path) -> None:
    found = problems(
        cwd,
        {"port": "x"},
        {"QWEN_GATEWAY_API_KEYS": f"{SECRET},,", "QWEN_GATEWAY_NOPE": SECRET},
        dotenv=f"QWEN_COOKIES {SECRET}\nQWEN_GATEWAY_IDLE_TIMEOUT=-1",
        toml=f'token = ["{SECRET}"]',
    )
    assert [text.split()[0] for text in found] == [
        *(".env", "QWEN_GATEWAY_NOPE", "port", "api_keys", "token", "idle_timeout")
    ]
    assert SECRET not in "".join(found)


@pytest.mark.parametrize("content", [b"port = ", b"port = '\xff'"])
def test_a_toml_file_that_cannot_be_read_is_named(cwd: Path, content: bytes) -> None:
    (cwd / "qwen-gateway.toml").write_bytes(content)
    (said,) = problems(cwd)
    assert said.startswith("qwen-gateway.toml: ")


@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), st.text(max_size=20), max_size=4))
def test_no_text_makes_loading_fail_in_another_way(texts: dict[str, str]) -> None:
    environ = {f"QWEN_GATEWAY_{name.upper()}": text for name, text in texts.items()}
    with suppress(SettingsError):
        load({}, environ, Path("/nowhere"))


# ---- rules that join settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine_no_key_is_needed(host: str) -> None:
    Settings(host=host).check_exposure(stored_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.lan"])  # noqa: S104
def test_elsewhere_a_long_key_is_needed(host: str) -> None:
    Settings(host=host, api_keys=(SecretStr("12345678"),)).check_exposure(stored_keys=False)
    Settings(host=host, pass_through=True).check_exposure(stored_keys=False)
    Settings(host=host).check_exposure(stored_keys=True)
    with pytest.raises(SettingsError, match=f"refusing to start on {host} without a key.*qwen-gateway keys create"):
        Settings(host=host).check_exposure(stored_keys=False)
    for pass_through in (False, True):
        short = Settings(host=host, api_keys=(SecretStr("1234567"),), pass_through=pass_through)
        with pytest.raises(SettingsError, match="fewer than 8 characters"):
            short.check_exposure(stored_keys=False)


# ---- addresses of the stores

GOOD_URLS = {
    "database_url": {
        "postgresql://user:password@host/name": "user:password@host/name",
        "postgres://user:pass@host:5432/name?sslmode=verify-full": "user:pass@host:5432/name?sslmode=verify-full",
        "postgresql+asyncpg://host?ssl=require": "host?ssl=require",
        "postgresql://user@server:p/a:s?s#w@[::1]:5432/name": "user@server:p/a:s?s#w@[::1]:5432/name",
        "postgresql:///name?host=/var/run/postgresql": "/name?host=/var/run/postgresql",
    },
    "redis_url": {
        **{url: url for url in ("redis://h", "rediss://h:6379/0", "redis://:p%2Fw@[::1]:1/15", "redis://u:p@h/")},
    },
}
BAD_URLS = {
    "database_url": {
        "mysql://host/name": "should be like postgresql://user:password@host/name",
        "postgresql://": "should be like postgresql://",
        "postgresql://host /name": "should be like postgresql://",
        "postgresql://u:canary-5f1c@h:abc/db": "the port (after the host's colon) should be a number from 1 to 65535",
        "postgresql://u:canary-5f1c@h:0/db": "the port",
        "postgresql://u:canary-5f1c@h:65536/db": "the port",
        "postgresql://u:canary-5f1c@h:/db": "the port",
        "postgresql://u:canary@-5f1c@h/db": "Signs of a password such as @ / ? # are written as %40",
        "postgresql://u:p@h/db?foo=canary-5f1c": "after the question mark, only sslmode is understood",
        "postgresql://u:p@h/db?application_name=x": "after the question mark, only sslmode is understood",
        "postgresql://u:p@h/db?sslmode=bogus": "sslmode should be one of: allow, disable, prefer, require, verify-ca",
        "postgresql://u:p@h/db?sslmode=": "sslmode should be one of",
        "postgresql://u:p@h/db?sslmode=verify-full&sslrootcert=/x": "in the variable PGSSLROOTCERT instead",
    },
    "redis_url": {
        "http://h": "should be like redis://host:6379/0",
        "redis://": "should be like redis://host:6379/0",
        "redis://:canary-5f1c@h:abc/0": "the port",
        "redis://:canary-5f1c/x@h/0": "should be like redis://:password@host:6379/0",
        "redis://h/zero": "should be the number of a database",
        "redis://h/0?foo=canary-5f1c": "should be without a question mark",
    },
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, urls in GOOD_URLS.items() for text in urls])
def test_addresses_of_stores(cwd: Path, name: str, text: str) -> None:
    made = getattr(load({}, {f"QWEN_GATEWAY_{name.upper()}": text}, cwd).settings, name).get_secret_value()
    assert made.removeprefix("postgresql+asyncpg://") == GOOD_URLS[name][text]


@pytest.mark.parametrize("text", GOOD_URLS["database_url"])
def test_the_database_takes_what_the_settings_take(cwd: Path, text: str) -> None:
    url = load({}, {"QWEN_GATEWAY_DATABASE_URL": text}, cwd).settings.database_url
    assert url is not None
    assert Database(url.get_secret_value(), seconds=1).url.get_backend_name() == "postgresql"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, urls in BAD_URLS.items() for text in urls])
def test_addresses_of_stores_that_are_none(cwd: Path, name: str, text: str) -> None:
    (problem,) = problems(cwd, environ={f"QWEN_GATEWAY_{name.upper()}": text})
    assert problem.startswith(f"{name} (environment QWEN_GATEWAY_{name.upper()}): ")
    assert BAD_URLS[name][text] in problem
    assert "canary" not in problem
    assert "5f1c" not in problem


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "https://auth.qwen.ai"),
        ({"site_url": "https://chat.qwen.ai/"}, "https://auth.qwen.ai"),
        ({"site_url": "http://sim"}, "http://sim"),
        ({"site_url": "http://sim", "auth_url": "http://auth"}, "http://auth"),
    ],
)
def test_where_sessions_are_renewed(values: dict[str, str], url: str) -> None:
    assert Settings.model_validate(values).effective_auth_url == url


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


# ---- showing them


def test_secrets_are_masked_wherever_settings_are_shown(cwd: Path) -> None:
    names = ("cookies", "token", "api_keys")
    environ = {f"QWEN_GATEWAY_{name.upper()}": SECRET for name in names}
    result = load({"set": [f'site_headers={{"X-A": "{SECRET}"}}']}, environ, cwd)
    rows = {row.name: row for row in describe(result)}
    assert [rows[name].value for name in names] == [MASK] * 3
    assert rows["site_headers"].value == f"X-A: {MASK}"
    assert rows["token"].origin == "environment QWEN_GATEWAY_TOKEN"
    assert SECRET not in str(list(rows.values()))


def test_every_setting_is_described(cwd: Path) -> None:
    rows = list(describe(load({}, {}, cwd)))
    assert [row.name for row in rows] == list(Settings.model_fields)
    assert all(row.description.endswith(".") for row in rows)


def test_the_example_file_has_every_setting_and_its_defaults(cwd: Path) -> None:
    lines = [line.removeprefix("#") for line in env_example().splitlines() if line.startswith("#QWEN")]
    assert [line.partition("=")[0] for line in lines] == [f"QWEN_GATEWAY_{n.upper()}" for n in Settings.model_fields]
    assert loaded(cwd, dotenv="\n".join(lines)).settings == Settings()
    assert loaded(cwd, dotenv=env_example()).settings == Settings()


@pytest.mark.parametrize(("file", "made"), [("docs/settings.md", settings_page), (".env.example", env_example)])
def test_generated_files_are_up_to_date(file: str, made: object) -> None:
    assert callable(made)
    assert (ROOT / file).read_text(encoding="utf-8") == made(), f"{file} is out of date. Run: make docs"


@pytest.mark.parametrize("name", ["max_image_bytes", "max_document_bytes", "max_audio_bytes", "max_video_bytes"])
def test_there_must_be_room_for_the_largest_file(cwd: Path, name: str) -> None:
    small = dict.fromkeys(("max_image_bytes", "max_document_bytes", "max_audio_bytes", "max_video_bytes"), 2000)
    load({**small, "spool_bytes": 3000, name: 3000}, {}, cwd)
    with pytest.raises(SettingsError) as caught:
        load({**small, "spool_bytes": 3000, name: 3001}, {}, cwd)
    [problem] = caught.value.problems
    assert problem == (
        f"spool_bytes is 3,000, and {name} lets in files of 3,001 bytes, for which there would never be room. Raise "
        f"spool_bytes, or lower {name}."
    )
