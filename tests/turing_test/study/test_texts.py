"""Every language says everything, and the page shows what the texts say."""

import ast
import re
from pathlib import Path

import flask
import jinja2
import pytest
from click.testing import CliRunner

import turing_test.study.texts
import turing_test.web
from evalkit.errors import InputError
from turing_test.commands.study_files import texts_command
from turing_test.study.duration import duration_sentence, session_minutes
from turing_test.study.protocol import PRESETS, Protocol
from turing_test.study.texts import check_texts, languages, read_texts
from turing_test.web.page import consent_paragraphs, consent_sha256, page_variables

TEMPLATES = Path(turing_test.web.__file__).parent / "templates"


def render(protocol, texts=None, **visit):

    app = flask.Flask("page", root_path=str(TEMPLATES.parent), template_folder="templates", static_folder="static")
    app.jinja_env.undefined = jinja2.StrictUndefined
    with app.test_request_context():
        return flask.render_template(
            "participant.html", **{**page_variables(protocol, texts), "session": "", "link": "", "opened": "", **visit}
        )


def test_what_a_session_pays_per_hour_follows_from_the_time_that_is_announced():
    assert duration_sentence(Protocol(reward="2 USD")).endswith("a reward of 2 USD is 24.00 USD per hour")
    assert duration_sentence(Protocol(reward="2.50")).endswith("a reward of 2.50 is 30.00 per hour")
    assert "hour" not in duration_sentence(Protocol())
    with pytest.raises(InputError, match="reward is"):
        Protocol(reward="two pounds")
    assert Protocol(reward="2 USD").asked_digest == Protocol().asked_digest  # it may change while the study runs


@pytest.mark.parametrize("language", languages())
def test_a_language_has_every_text(language):
    assert read_texts(language).keys() == read_texts("en").keys()


def test_english_and_german_are_shipped():
    assert {"en", "de"} <= set(languages())


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_whole_page_in_every_language(language, preset):
    page = render(Protocol.of_preset(preset, language=language))
    texts = read_texts(language)
    assert f'<html lang="{language}">' in page
    assert texts["question"][preset] in page
    assert not re.search(r"\{[a-z_%{]|\}\}", page)  # everything was filled in
    assert re.findall(r'data-screen="(\w+)"', page) == [
        *("consent", "device", "window", "vision", "instructions", "ready", "resume", "pause", "trial"),
        *("completed", "incomplete", "declined", "screened_out", "incompatible", "withdrawn", "expired", "full"),
        *("elsewhere", "refused", "error"),
    ]


def test_numbers_are_written_as_the_language_writes_them():
    assert "each for 0.5 s." in render(Protocol(image_ms=500))
    assert "jedes 0,5 s lang." in render(Protocol(image_ms=500, language="de"))
    assert "jedes 2 s lang." in render(Protocol(image_ms=2000, language="de"))
    of_a_study = read_texts("de")
    del of_a_study["page"]["decimal_point"]  # a language of a study's own need not say it
    check_texts(of_a_study, read_texts("en"), "texts/de.toml")
    assert "jedes 0.5 s lang." in render(Protocol(image_ms=500, language="de"), of_a_study)


def test_a_page_without_real_photos_does_not_speak_of_fakes():
    about = render(Protocol.of_preset("naturalness"))
    assert "Fake colors" not in about
    assert "Real colors" not in about


def test_the_page_holds_no_inline_script_or_style():
    page = render(Protocol(), session="abc")
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert "<style" not in page
    assert not re.search(r"\s(style|on[a-z]+)=", page)


def test_the_page_loads_nothing_from_elsewhere():
    files = [*TEMPLATES.glob("*.html"), *TEMPLATES.parent.glob("static/**/*.*")]
    assert len(files) > 15
    for file in files:
        if file.name.startswith("dashboard"):
            continue
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, file.name  # the name of SVG, which is not loaded


def test_every_module_that_is_imported_is_preloaded_and_exists():
    static = TEMPLATES.parent / "static" / "participant"
    imported = {name for file in static.glob("*.js") for name in re.findall(r'from "\./([\w.]+)"', file.read_text())}
    listed = set(re.findall(r'"(\w+\.js)"', (TEMPLATES / "participant.html").read_text()))
    assert imported == listed
    assert imported <= {file.name for file in static.glob("*.js")}


def test_the_consent_text_is_what_its_hash_says():
    protocol = Protocol(contact="Ada <ada@example.org>")
    variables = page_variables(protocol)
    assert variables["consent_hash"] == consent_sha256(variables["consent"])
    assert variables["consent"][-1] == "Questions? Ask Ada <ada@example.org>."
    assert "Ada &lt;ada@example.org&gt;" in render(protocol)
    assert page_variables(Protocol())["consent_hash"] != variables["consent_hash"]


def test_a_studys_own_consent_text_is_shown_as_it_is():
    own = "We {mean} this.\n\nAnd that:\n- one\n- two\n"
    assert consent_paragraphs(Protocol(), read_texts("en"), own) == ["We {mean} this.", "And that:\n- one\n- two"]


def test_the_announced_time_is_that_of_the_protocol():
    # 50 trials of 0.9 + 1 + 0.6 + 1 + 0.1 + 1.5 s, and 10 explanations of 2.4 s: 279 s
    assert session_minutes(Protocol()) == 5
    assert session_minutes(Protocol.of_preset("naturalness")) == 3  # 44 trials of 3.5 s


def test_the_announced_time_follows_the_design():
    beside = {"side_by_side": True, "image_ms": "until answered", "practice_trials": 0, "test_trials": 60}
    assert session_minutes(Protocol.of_preset("preference", **beside)) == 6  # 60 trials of 0.9 + 5 s
    assert (
        session_minutes(Protocol.of_preset("preference", **beside, break_every=10)) == 9
    )  # and 5 breaks of half a minute
    assert session_minutes(Protocol.of_preset("preference", **beside, break_every=10, break_s=10)) == 7


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(
    ("preset", "changes", "said", "unsaid"),
    [
        ("simultaneous", {"image_ms": "until answered"}, ("stays", "simultaneous_until_answered", "?simultaneous_now"), "look_away"),
        ("preference", {"side_by_side": True}, ("look_away", "preference_side_by_side", "?preference"), "preference"),
        ("naturalness", {"answer_while_shown": True}, ("look_away", "at_once", "naturalness", "?naturalness_now"), "stays"),
        ("zhang2016", {"answer_while_shown": True, "break_every": 7}, ("at_once", "breaks", "zhang2016", "?zhang2016"), "stays"),
    ],
)  # fmt: skip
def test_the_page_says_what_the_design_is(language, preset, changes, said, unsaid):
    protocol = Protocol.of_preset(preset, language=language, **changes)
    page, texts = render(protocol), read_texts(language)
    numbers = page_variables(protocol)["numbers"]

    def sentence(name):
        text = texts["question"][name[1:]] if name.startswith("?") else texts["instructions"][name]
        return (text["about"] if isinstance(text, dict) else text).format(**numbers)

    assert all(sentence(name) in page for name in said)
    assert sentence(unsaid) not in page
    assert (texts["consent"]["until_answered"].format(**numbers) in page) == (protocol.image_ms == "until answered")


FRENCH = """
[question]
zhang2016 = "Quelle image avait de fausses couleurs ?"
"""


def own(folder, language, text):
    (folder / "texts").mkdir(exist_ok=True)
    (folder / "texts" / f"{language}.toml").write_text(text, encoding="utf-8")


def test_a_study_replaces_single_texts_of_a_shipped_language(tmp_path):
    own(tmp_path, "en", '[question]\nzhang2016 = "Which one is wrong?"\n[outcome.completed]\ntitle = "Well done"\n')
    texts = read_texts("en", tmp_path)
    assert texts["question"] == {**read_texts("en")["question"], "zhang2016": "Which one is wrong?"}
    assert texts["outcome"]["completed"] == {**read_texts("en")["outcome"]["completed"], "title": "Well done"}
    assert texts["outcome"]["declined"] == read_texts("en")["outcome"]["declined"]


def test_a_language_of_its_own_needs_all_texts_and_no_change_of_the_toolkit(tmp_path):
    own(tmp_path, "fr", FRENCH)
    assert languages(tmp_path) == [*languages(), "fr"]
    with pytest.raises(InputError, match=r"texts/fr\.toml: has no text answer\.first"):
        read_texts("fr", tmp_path)
    whole = (Path(turing_test.study.texts.__file__).parent / "en.toml").read_text(encoding="utf-8")
    own(
        tmp_path,
        "fr",
        whole.replace("Which image do you think had fake colors?", "Quelle image avait de fausses couleurs ?"),
    )
    page = render(Protocol(language="fr"), read_texts("fr", tmp_path))
    assert '<html lang="fr">' in page
    assert "Quelle image avait de fausses couleurs ?" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[question]\nzhang16 = "x"', "knows a text question.zhang16 that the page does not show"),
        ('[question]\nzhang2016 = "x {y}"', "question.zhang2016 fills in y; allowed is nothing"),
        ('[question]\nzhang2016 = "50 {"', "question.zhang2016 has a brace that fills in nothing"),
        ('[question]\nzhang2016 = ""', "question.zhang2016 is ''; allowed is a text, none of them empty"),
        ("[question]\nzhang2016 = 7", "question.zhang2016 is '7'; allowed is a text"),
        ('question = "x"', "knows a text question that"),
        ('[device]\nsteps = "x"', "device.steps is 'x'; allowed is a list of texts"),
        ('[count]\ntest = ["{n} trials"]', "count.test has 1 forms; allowed are two"),
        (f'[question]\nzhang2016 = "{"x" * 91}"', "question.zhang2016 has 91 characters; allowed are 90"),
        (f'[answer]\nfirst = "{"x" * 21}"', "answer.first has 21 characters; allowed are 20"),
        ('[instructions]\nbreaks = "Now and then."', "instructions.breaks fills in nothing; allowed is every"),
        ('[pause]\ntitle = "{n}"', "pause.title fills in n; allowed is nothing"),
        ("[question", "cannot be read as a file of texts"),
    ],
)
def test_a_studys_own_text_that_cannot_be_shown_is_named(tmp_path, text, message):
    own(tmp_path, "en", text)
    with pytest.raises(InputError) as error:
        read_texts("en", tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "texts" / "en.toml") in str(error.value)


def test_a_file_that_cannot_be_read_is_told_in_words(tmp_path):
    own(tmp_path, "en", "")
    (tmp_path / "texts" / "en.toml").write_bytes(b"[question]\nzhang2016 = '\xff'")
    with pytest.raises(InputError, match=r"en\.toml: cannot be read as a file of texts \(it is not UTF-8 text\)\.$"):
        read_texts("en", tmp_path)


@pytest.mark.parametrize("language", languages())
def test_the_command_prints_what_a_study_can_translate(tmp_path, language):
    printed = CliRunner().invoke(texts_command, ["--language", language])
    assert printed.exit_code == 0
    own(tmp_path, "xy", printed.output)
    assert read_texts("xy", tmp_path) == read_texts(language)
    again = CliRunner().invoke(texts_command, [str(tmp_path), "--language", "xy"])
    assert again.output == printed.output


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match=r"language is 'xx', and there are no texts of it; allowed are de, en\."):
        read_texts("xx")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": {"b": "{n} trials"}}, "fr.toml: has no text a.c; en.toml shows what it should say."),
        ({"a": {"b": "{n} trials", "c": "x", "d": "y"}}, "fr.toml: knows a text a.d that the page does not show"),
        ({"a": {"b": "trials", "c": "x"}}, "fr.toml: a.b fills in nothing; allowed is n."),
        ({"a": {"b": "{n} {m}", "c": "x"}}, "fr.toml: a.b fills in m, n; allowed is n."),
    ],
)
def test_a_wrong_translation_is_named(texts, message):
    with pytest.raises(InputError) as error:
        check_texts(texts, {"a": {"b": "{n} trials", "c": "x"}}, "fr.toml")
    assert message in str(error.value)


def test_every_reason_of_a_refusal_has_a_text_and_every_refusal_that_a_page_may_meet_a_reason():
    calls = [
        node
        for file in TEMPLATES.parents[1].rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
    ]
    told = {keyword.value.value for call in calls for keyword in call.keywords if keyword.arg == "reason"}
    assert told | {"unexpected"} == set(read_texts("en")["refusal"])
    silent = {call.args[0].value for call in calls if "reason" not in {keyword.arg for keyword in call.keywords}}
    # The page tries again (425, 429), takes another trial (410), or never sends such a thing (400, 415; 403: simulated people).
    assert silent == {400, 403, 410, 415, 425, 429}


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{width!r} {height}", "fills in height, width!r; allowed is height, width"),
        ("{width} {height:>900}", "fills in height:>900, width; allowed is height, width"),
        ("{width:q} {height}", "fills in height, width:q; allowed is height, width"),  # no page could be made of it
        ("{} {width} {height}", "fills in height, width, {}; allowed is height, width"),
    ],
)
def test_what_is_filled_in_is_the_name_alone(about, said):
    with pytest.raises(InputError, match=re.escape(f"texts/en.toml: window.about {said}")):
        check_texts({"window": {"about": about}}, read_texts("en"), "texts/en.toml", complete=False)


def test_languages_written_from_right_to_left_are_shown_so():
    texts = read_texts("en")
    for language, attribute in (
        ("he", ' dir="rtl"'),
        ("az-Arab", ' dir="rtl"'),
        ("de", ""),
        ("uz-Latn", ""),
        ("pt-BR", ""),
    ):
        assert f'<html lang="{language}"{attribute}>' in render(Protocol(language=language), texts)
