"""`Copy as cURL`: the command that browsers make of a request, for bash or for cmd.exe."""

from msgspec import Struct

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms import found, shell

_FORM = "A cURL command"
_SHORT = {"H": "--header", "b": "--cookie", "A": "--user-agent"}
_SHORT_WITH_VALUE = frozenset("AbCcDdEeFHhKmoPQrTtUuwXxYyz")
# What curl's own list of options shows with a value (curl 8, as of 2025), beside those that are taken.
_LONG_WITH_VALUE = frozenset(
    """
    abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config connect-timeout connect-to
    continue-at cookie-jar create-file-mode crlfile curves data data-ascii data-binary data-raw data-urlencode
    delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url dump-header ech egd-file engine
    etag-compare etag-save expect100-timeout form form-string ftp-account ftp-alternative-to-user ftp-method ftp-port
    ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip help hostpubmd5 hostpubsha256 hsts interface ip-tos
    ipfs-gateway json keepalive-cnt keepalive-time key key-type krb libcurl limit-rate local-port login-options
    mail-auth mail-from mail-rcpt max-filesize max-redirs max-time netrc-file noproxy oauth2-bearer output output-dir
    parallel-max pass pinnedpubkey preproxy proto proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert
    proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key proxy-key-type proxy-pass proxy-pinnedpubkey
    proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser proxy-user proxy1.0 pubkey
    quote random-file range rate referer request request-target resolve retry retry-delay retry-max-time sasl-authzid
    service-name sigalgs socks4 socks4a socks5 socks5-gssapi-service socks5-hostname speed-limit speed-time stderr
    telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii
    trace-config unix-socket upload-file url-query user variable vlan-priority write-out
    """.split()  # noqa: SIM905 - so many are easier to compare with curl's list like this
)
_TAKEN = frozenset({"--header", "--cookie", "--user-agent", "--url"})


class _Command(Struct):
    urls: list[str]
    headers: list[tuple[str, str]]


def is_it(text: str) -> bool:
    word = text[:12].lower().replace("\t", " ").split(" ", 1)[0]
    return word in ("curl", "curl.exe")


def read(text: str, site: str = found.SITE) -> Credential:
    """site: the host whose requests count beside the web chat's. Raises InvalidRequest."""
    try:
        words = shell.windows_words(text) if shell.is_for_windows(text) else shell.posix_words(text)
    except ValueError:
        raise found.refusal(
            f"{_FORM} was recognised, but a quotation mark in it is never closed: a part is missing. Copy all of it "
            "again: `Copy as cURL` in the browser's network tools."
        ) from None
    command = _command(words[1:])
    if not command.urls:
        raise found.refusal(f"{_FORM} was recognised, but it names no address. {found.HOW}")
    for url in command.urls:
        found.check_host(_host(url), site, _FORM)
    for name, value in command.headers:
        if name.strip().lower() == "host":
            found.check_host(found.host_of(f"https://{value.strip()}"), site, _FORM)
    return found.credential(found.from_headers(command.headers), _FORM)


def _host(url: str) -> str | None:
    for sign in "[]{}":  # Chrome guards them against curl's own patterns
        url = url.replace("\\" + sign, sign)
    return found.host_of(url if "://" in url else f"https://{url}")


def _command(words: list[str]) -> _Command:
    command = _Command([], [])
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-") or word == "-":
            command.urls.append(word)
            continue
        option, value = _long(word) if word.startswith("--") else _short(word)
        if option:
            _take(command, option, next(waiting, "") if value is None else value)
    return command


def _long(word: str) -> tuple[str, str | None]:
    """An option that takes a value, or empty; and the value if it is written in the same word."""
    name, sign, value = word.partition("=")
    takes = name in _TAKEN or name.removeprefix("--") in _LONG_WITH_VALUE
    return name if takes else "", value if sign else None


def _short(word: str) -> tuple[str, str | None]:
    """The same for `-sSb value` and `-sSbvalue`: the first letter that takes a value ends the word's options."""
    for at, letter in enumerate(word[1:], 1):
        if letter in _SHORT_WITH_VALUE:
            return _SHORT.get(letter, f"-{letter}"), word[at + 1 :] or None
    return "", None


def _take(command: _Command, option: str, value: str) -> None:
    match option:
        case "--header":
            name, _, rest = value.partition(":")
            command.headers.append((name, rest))
        case "--cookie":
            command.headers.append(("cookie", value))
        case "--user-agent":
            command.headers.append(("user-agent", value))
        case "--url":
            command.urls.append(value)
        case _:
            pass
