import pytest

from examples.handbook import HERE, HandbookRetriever, documentation, sections

GUIDE = """# Guide

Welcome.

## Streaming

Tokens are streamed as events.

```sh
# not a heading
curl localhost
```

## Empty

## Limits

A batch holds at most a hundred inputs.
"""


@pytest.fixture
def guide(tmp_path):
    path = tmp_path / "guide.md"
    path.write_text(GUIDE, encoding="utf-8")
    return HandbookRetriever(root=tmp_path, paths=(path,), k=2)


@pytest.fixture
def shipped():
    return HandbookRetriever(root=HERE, paths=(HERE / "handbook.md",))


def test_a_text_is_split_by_its_headings_but_not_inside_code():
    found = list(sections(GUIDE, source="guide.md"))

    assert [document.metadata["title"] for document in found] == [
        "Guide",
        "Streaming",
        "Limits",
    ]
    assert "# not a heading" in found[1].page_content


async def test_the_best_section_comes_first_with_its_source(guide):
    first, *_ = await guide.ainvoke("How large may a batch be?")

    assert first.metadata == {"source": "guide.md", "title": "Limits"}


async def test_other_forms_of_a_word_are_found(guide):
    (found,) = await guide.ainvoke("streams")

    assert found.metadata["title"] == "Streaming"


@pytest.mark.parametrize("query", ["zebra", "", "how do I", "???"])
async def test_nothing_is_found_where_no_word_fits(guide, query):
    assert await guide.ainvoke(query) == []


async def test_an_empty_handbook_finds_nothing(tmp_path):
    assert await HandbookRetriever(root=tmp_path, paths=()).ainvoke("batch") == []


def test_files_are_read_on_the_first_question_only(guide, tmp_path):
    guide.invoke("batch")
    (tmp_path / "guide.md").unlink()

    assert guide.invoke("batch")


def test_no_more_than_k_sections_are_returned(shipped):
    assert len(shipped.invoke("runnable")) == shipped.k


def test_the_text_shipped_with_the_package_answers_a_newcomers_question(shipped):
    first, *_ = shipped.invoke("How do I register a runnable?")

    assert first.metadata["title"] == "Registering a runnable"


def test_in_a_checkout_the_projects_own_documents_are_used(tmp_path):
    for name in ("pyproject.toml", "README.md", "docs/guide.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Title\n\nText.")

    assert [path.name for path in documentation(tmp_path)] == ["README.md", "guide.md"]


def test_beside_an_installed_package_other_projects_files_are_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("# Somebody else")

    assert documentation(tmp_path) == ()
