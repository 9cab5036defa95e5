"""docs/api.md lists the routes that there are: no more, no less."""
import re

from harness import ROOT



def table_rows(text, base=""):
    """Methods and paths of rows in C; `base` is what the macro of intentions puts before."""
    rows = set()
    for kind, method, path in re.findall(
            r'(READ|WRITE|\{)\(?\s*(?:"([A-Z]*)",\s*)?((?:base)?\s*(?:"/[^"]*")?),', text):
        path = path.replace("base", base).replace('"', "").replace(" ", "").strip()
        if path:
            rows.add((method or ("GET" if kind == "READ" else "*"), path))
    return rows


def routes():
    text = (ROOT / "src/http/routes.c").read_text()
    macro = re.search(r"#define INTENTIONS\(base\)(.*?[^\\])\n\n", text, re.S).group(1)
    table = re.search(r"api_routes\[\] = \{(.*?)\n\};", text, re.S).group(1)
    rows = table_rows(table)
    for base in re.findall(r'INTENTIONS\("([^"]*)"\)', table):
        rows |= table_rows(macro, base)
    return rows


def test_every_route_is_documented_and_no_other():
    text = (ROOT / "docs/api.md").read_text()
    documented = re.findall(r"^\| (\S+) \| `(/v1/[^`]*)` \|", text, re.M)
    assert len(documented) == len(set(documented)), "a route is listed twice"
    there = routes()
    assert len(there) > 80
    assert set(documented) - there == set(), "documented, but not there"
    assert there - set(documented) == set(), "there, but not documented"
