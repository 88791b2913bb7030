from graphcl.report.examples_section import examples_section
from graphcl.report.snapshot import Example

EXAMPLE = Example(
    user="u<7>",
    history=("Alien (1979)", "<b>Brazil</b>"),
    recommended=("Heat", "Fargo"),
    hits=(False, True),
    held_out=("Fargo",),
)


def test_a_user_is_a_row_and_right_guesses_are_marked():
    text = examples_section([EXAMPLE])
    assert text.count("<tr>") == 2
    assert '<strong title="a right guess">✓ Fargo</strong>' in text
    assert "✓ Heat" not in text
    assert "u&lt;7&gt;" in text
    assert "&lt;b&gt;Brazil&lt;/b&gt;" in text
    assert text.index("Alien") < text.index("Heat") < text.index("Fargo")


def test_a_user_without_history_has_a_dash():
    assert "<td>–</td>" in examples_section([Example("u", (), ("a",), (False,), ("b",))])


def test_no_examples_no_table():
    assert examples_section([]) == ""
