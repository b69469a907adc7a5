"""Sets that a model answers: kept while it works, the same after a kill, whoever answers."""

from __future__ import annotations

import json

from pinisi.cli import main
from pinisi.evaluate.answering import BLOCK
from tests.evaluate.conftest import write_lines, write_model
from tests.evaluate.server import Reply, chat, completion, serving
from tests.evaluate.test_generation import write_chat_tokenizer


def test_a_served_model_answers_a_set_and_goes_on_where_it_stopped(tmp_path, capsys) -> None:
    asked = [{"id": f"c{n}", "language": "id", "prompt": f"kata {n}"} for n in range(BLOCK + 9)]
    file, out = write_lines(tmp_path / "set.jsonl", asked), tmp_path / "out.jsonl"

    def answer(request):
        return chat(f"jawab\u2028{request.text}", "length" if request.text == "kata 3" else "stop")

    def given(address: str) -> list[str]:
        how = ["--served", "m", "--attempts", "1", "--parallel", "4"]
        return ["generate", address, "--conversations", str(file), "--out", str(out), *how]

    with serving(lambda r: Reply(state=500) if r.number >= BLOCK + 3 else answer(r)) as server:
        address = server.address
        assert main(given(address)) == 2
    assert "see whether the server is well" in capsys.readouterr().err and not out.exists()
    (partial,) = tmp_path.glob(".out.jsonl.partial")
    partial.write_text(partial.read_text() + '\n{"key": "torn')
    port = int(address.split(":")[2].split("/")[0])
    with serving(answer, port) as server:
        assert server.address == address
        assert main(given(address)) == 0
        assert len(server.asked) == 9
    records = [json.loads(line) for line in out.read_text().split("\n") if line]
    assert [r["session_id"] for r in records] == [a["id"] for a in asked]
    assert [r["output"] for r in records] == [[f"jawab\u2028{a['prompt']}"] for a in asked]
    assert [r["ended"] for r in records].count("length") == 1 and "m at" in records[0]["generator"]
    assert "1 reached 64 tokens" in capsys.readouterr().out
    assert not list(tmp_path.glob(".out*"))


def test_the_command_answers_through_a_template_or_a_server_and_says_what_does_not_fit(
    tmp_path, capsys
) -> None:
    folder = write_model(tmp_path / "m")
    assert main(["generate", str(folder), "Kapal", "--chat"]) == 2
    assert "no chat template" in capsys.readouterr().err
    write_chat_tokenizer(folder)
    file, out = write_lines(tmp_path / "set.jsonl", [{"prompt": "Kapal"}] * 1), tmp_path / "out.jsonl"
    assert main(["generate", str(folder), "Kapal", "--chat", "--tokens", "5"]) == 0
    said = capsys.readouterr().out
    assert (
        main(["generate", str(folder), "--conversations", str(file), "--out", str(out), "--tokens", "5"]) == 0
    )
    assert json.loads(out.read_text())["output"] == [said.removesuffix("\n")]
    with serving(lambda asked: completion(" " + asked.text[::-1])) as server:
        assert main(["generate", server.address, "abc", "--served", "m"]) == 0
        assert capsys.readouterr().out.endswith("abc cba\n")
    for given, words in (
        ([], "needed TEXT"),
        (["a", "--conversations", str(file)], "not both"),
        (["--conversations", str(file)], "give both or none"),
        (["a", "--out", "b"], "give both or none"),
        (["a", "--chat", "--tokens", "0"], "got 0 tokens"),
    ):
        assert main(["generate", str(folder), *given]) == 2
        assert words in capsys.readouterr().err
    assert main(["generate", "http://h/v1", "a"]) == 2
    assert "--served NAME" in capsys.readouterr().err
