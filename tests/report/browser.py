"""Pages opened in a real browser, without a screen."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


def run(page: Path, script: str, *, size: tuple[int, int] = (1300, 900)) -> Any:
    """Open a page of ours and run a script in it; returns the value that the script gives to `answer`.

    What the page or the script throws is raised as AssertionError.
    """
    program = find()
    assert program
    ask = (
        "const faults = []; window.onerror = text => { faults.push(text); };",
        "function answer(value) { const pre = document.createElement('pre'); pre.id = 'answer';"
        "pre.textContent = JSON.stringify(value); document.body.append(pre); }\n"
        f"try {{ {script} }} catch (error) {{ faults.push(String(error)); }}\n"
        "if (faults.length) answer({faults});",
    )
    first, last = (f"<script>//<![CDATA[\n{code}\n//]]></script>" for code in ask)
    text = page.read_text(encoding="utf-8").replace("<body>", "<body>" + first)
    asked = page.with_name("asked-" + page.name)
    asked.write_text(text.replace("</body>", last + "</body>"), encoding="utf-8")
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    done = subprocess.run(
        [*command, "--dump-dom", asked.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page gave no answer: {done.stdout[-500:]} {done.stderr[-2000:]}"
    value = json.loads(unescape(found[1]))
    assert not (isinstance(value, dict) and "faults" in value), value
    return value


def at_widths(page: Path, script: str, widths: tuple[int, ...], height: int = 900) -> dict[int, Any]:
    """Open a page of ours in frames of the widths, which may be less than a window's least; returns by width what a script gives.

    The script is an expression in which `win` is the frame's window.
    """
    text = escape(page.read_text("utf-8"))
    head = f'height="{height}" style="border:0" srcdoc="{text}"'
    frames = "".join(f'<iframe id="w{width}" width="{width}" {head}></iframe>' for width in widths)
    whole = page.with_name("frames-" + page.name)
    whole.write_text(f"<!DOCTYPE html><html><body>{frames}</body></html>", encoding="utf-8")
    found = f"{json.dumps(widths)}.map(width => {{ const win = document.getElementById('w' + width).contentWindow; {script} }})"
    values = run(whole, f"addEventListener('load', () => answer({found}));", size=(1400, 1000))
    return dict(zip(widths, values, strict=True))
