"""Values that look like what a member takes and are not. Texts of a client's own carry the canary."""

from typing import Any

CANARY = "c4n4ry"

NO_SLUGS = (
    "", " ", "-", "-a", "a-", "A", "a b", "a/b", "../../etc/passwd", "a.b", "a_b", "a" * 64, "ä", "日本", "а",
    "a\n", "\na", "a\t", "a%00", "a'--", "a;drop table tenants", "{{7*7}}", "${7*7}", "%s%s%n", "a\u202eb", "(a+)+$",
    "a" * 1_000_000, "😀", "a\u0301",
)  # fmt: skip
NO_URLS = (
    f"javascript:alert('{CANARY}')", "file:///etc/passwd", "data:text/plain,hello", "ftp://host.example/",
    "gopher://host.example/", "ws://host.example/", "https:host.example", "https://", "https:///path",
    "//host.example/",
    "host.example/path", "https://?query", "https://user:secret@host.example/", f"https://{CANARY}@host.example/",
    "https://host.example:0/", "https://host.example:99999/", "https://host.example:port/",
    "https://host.example:-1/",
    "https://host.example:443:443/", "https://[::1/", "https://[]/", "https://[::1]:443]/", "https://[1:2]/",
    "https://[::]/", "https://[::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1]/", "https://[fc00::1]/",
    "https://[::ffff:10.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:a9fe:a9fe::]/", "https://[ff02::1]/",
    "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/", "https://0/", "https://0.0.0.0/",
    "https://2852039166/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/", "https://169.254.43518/",
    "https://１６９.254.169.254/", "https://169。254。169。254/", "https://%31%36%39.254.169.254/",
    "https://169.254.169.254./", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://host.example..com/",
    f"https://{'a' * 64}.example/", f"https://{'a.' * 150}example/", "https://\u202eexample.com/",
    "https://host .example/", "https://host.example/a b", "https://host.example/\r\nX-Evil: 1",
    "https://ho\tst.example/",
    "https://host.example/\u0000", "https://host.example/#fragment", "https://host.example\\@evil.example/",
    "http://host.example@169.254.169.254/", "http://10.0.0.1/", "http://169.254.169.254/", "https://" + "h" * 2000,
    "\nhttps://host.example/", " https://host.example/",
)  # fmt: skip
HOSTILE: dict[str, tuple[Any, ...]] = {
    "slug": NO_SLUGS,
    "plan": (*NO_SLUGS, "gold"),
    "url": NO_URLS,
    "api_urls": (*([url] for url in NO_URLS), [], [None], [["https://host.example/"]], ["https://h.example/"] * 51),
    "upstreams": (*([slug] for slug in NO_SLUGS), [], [None], [[]], ["unknown"], ["a"] * 51),
    "scopes": (
        [], ["operator"], ["nothing"], [""], [None], ["PROCESS"], ["process "], [["process"]], ["process"] * 21,
        ["process", "operator"], ["*"], [CANARY], "process", {"process": True},
    ),
    "headers": (
        {"X": f"{CANARY}\r\nX-Evil: 1"}, {"X": "a\nb"}, {"X": "a\rb"}, {"X\r\nY": "a"}, {"": "a"}, {"X y": "a"},
        {"X:": "a"},
        {"Host": CANARY}, {"content-length": "1"}, {"Transfer-Encoding": "chunked"}, {"CONNECTION": "close"},
        {"TE": "x"},
        {"Expect": "100-continue"}, {"Upgrade": "h2c"}, {"X": "é"}, {"é": "x"}, {"X": ""}, {"X": " a"},
        {"X": "a "}, {"X": 1},
        {"X": None}, {"X": ["a"]}, {"X": "1", "x": "2"}, {f"X-{n}": "a" for n in range(51)}, {"X": "\u0000"},
        {"X": "\x1b[2J"},
        {"X": "\x7f"}, {"X": "a" * 2001}, {"a" * 101: "x"}, {CANARY: "é"}, [["X", "a"]], {"authorization": "x"},
    ),
    "auth": (
        {"header": "Host"}, {"header": "a b"}, {"header": "A\r\nB"}, {"header": ""}, {"header": None},
        {"scheme": "a b"},
        {"scheme": ""}, {"scheme": "a\n"}, {"scheme": "é"}, {"scheme": CANARY * 50}, {"extra": 1},
        {"header": "A" * 101},
    ),
    "credential": (f"{CANARY}\r\nX-Evil: 1", f"{CANARY}\n", f"{CANARY}é", "", " ", "a\tb", "a" * 4001, "日本", "\x7f"),
    "request_template": (
        "x" * 20_001, ["{chunk}"] * 17, {"a": "{chunk}" * 17}, [2**64], {"a": -(2**63) - 1}, 10**400,
        {f"{CANARY}{n}": [n] * 50 for n in range(500)},
    ),
    "options": ({"a": "x" * 20_001}, {f"o{n}": n for n in range(101)}, {"a": [[0] * 100] * 100}),
    "response_path": (
        "[", "]", "a.", "a[", "a[?", "a ||", "`", "\"", "unknown(@)", "to_string(@)", "@[0", "(" * 400, "a" * 501,
        "map(&[", "sort_by(@", f"{CANARY}(@)", "{a:", "a..b", "[*].[", "not_null(", "\\", "a[1:2:0:0]", "&", "é(@)",
    ),
    "expires_at": (
        "2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z",
        "2030-01-01T25:00:00Z", "2030-01-01", "99999-01-01T00:00:00Z", "now", "tomorrow", CANARY, "", " ", 0, -1,
        1e300,
        10**12, 10**18, "1e10", "9999999999999999999", "2030-01-01T00:00:00+99:00", "2030-W01-1", True, ["2030"],
        "4102444800", 4102444800, 4102444800.5, "2030-01-01T00:00:00Z\n",
    ),
    "effective_from": (
        "2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
        "2030-02-30T00:00:00Z", "2030-01-01", "now", CANARY, "", 0, 1e300, 10**18, True, ["2030"], "4102444800",
    ),
    "split": ({"by": "lines"}, {"size": 0}, {"size": 5, "overlap": 5}, {"size": "5"}, {"overlap": 500}, {"by": ""}),
    "fold": ({"by": "sum"}, {"by": None}, {"separator": 1}, {"separator": "x" * 1001}, {"prompt": CANARY}),
    "name": ("", " ", "\t\n", "x" * 201, "\x1b]0;evil\x07", "a\rb", "a\nb", "\u009b2J", "a\u202eb", "\u2028"),
    "units": (-(10**15) - 1, 10**15 + 1, 0.5, "5", True),
    "kind": ("Period", "prepaid ", "", None, CANARY),
    "reason": ("", " ", "\t\n", "x" * 501, "\x1b]0;evil\x07", "a\nb", "a\u202eb", "\u2028", 1, [CANARY]),
    "resolution": ("settled", "Billed", "", None, True, CANARY),
    "model": ("", "x" * 201),
    "text": ("",),
}  # fmt: skip
