"""A reproduction, as a recipe says it: the tables of a paper, a training recipe for each of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qdeq_qiskit import recipes

KIND = "reproductions"
TableName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
RowName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
RowRecipe = Annotated[str, Field(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=1, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]


@final
class PaperTable(BaseModel):
    """One table: rows that are compared with each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: TableName = Field(description="What --table calls it.")
    title: str = Field(description="What stands above it.")
    seeds: Count = Field(default=1, description="How many seeds each row is trained with: 0, 1, 2 and so on.")
    rows: Annotated[tuple[RowRecipe, ...], Field(min_length=1)] = Field(
        description="The training recipes of its rows, by name or path."
    )

    @property
    def row_names(self) -> tuple[str, ...]:
        """What the rows are called: names without folder and suffix."""
        return tuple(Path(row).stem for row in self.rows)


@final
class PublishedFigure(BaseModel):
    """What others report of one row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accuracy: Share = Field(description="Test accuracy, from 0 to 1.")
    seconds: Annotated[float, Field(gt=0)] | None = Field(default=None, description="How long training took.")


@final
class Publication(BaseModel):
    """Figures that were not measured here, and where they are from: a column of the tables and its footnote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=40)] = Field(description="The head of the column.")
    source: Annotated[str, Field(min_length=1)] = Field(
        description="Where the figures are from, or why there are none; the footnote."
    )
    rows: dict[RowName, PublishedFigure] = Field(
        default={}, description="The figures, by the name of the row's training recipe."
    )


@final
class QuickChanges(BaseModel):
    """What --quick changes, so that every row trains within seconds; its numbers mean nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    set: tuple[str, ...] = Field(description="What is changed in every training recipe, such as data.name=digits.")
    seeds: Count = Field(default=1, description="How many seeds each row is trained with.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        default=0, description="The most warm-up steps of a row that has some."
    )


@final
class ReproductionRecipe(BaseModel):
    """A reproduction: tables of training recipes. What a YAML file in the folder `reproductions/` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="One line about it, shown in listings.")
    depth_target: str = Field(
        default="fake_torino", description="The processor for which circuits are compiled to count their depth."
    )
    tables: Annotated[tuple[PaperTable, ...], Field(min_length=1)] = Field(description="The tables, in their order.")
    published: tuple[Publication, ...] = Field(default=(), description="Figures of others, beside those measured here.")
    quick: QuickChanges = Field(
        default=QuickChanges(set=("optimisation.epochs=2",)), description="What --quick changes."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _check_once("tables", [table.name for table in self.tables])
        _check_once("published", [each.name for each in self.published])
        for table in self.tables:
            _check_once(f"rows of {table.name}", table.row_names)
        known = list(dict.fromkeys(row for table in self.tables for row in table.row_names))
        for each in self.published:
            for row in each.rows:
                if row not in known:
                    listed = recipes.choices(row, known, "there are")
                    raise ValueError(f"published: {each.name}: {row!r} is no row of a table; {listed}")
        return self

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Read a recipe by name or path; the training recipes of its rows are looked up later.

        Raises:
            RecipeError: the file, a key or a value is wrong.
        """
        recipe: Any = recipes.load(KIND, name_or_path, cls)
        assert isinstance(recipe, cls)
        return recipe

    def chosen(self, names: tuple[str, ...], source: str) -> tuple[PaperTable, ...]:
        """The tables of these names, in the recipe's order; all of them for no name.

        Raises:
            RecipeError: there is no table of that name.
        """
        known = [table.name for table in self.tables]
        for name in names:
            if name not in known:
                raise recipes.RecipeError(
                    f"--table {recipes.shown(name)}: {source} has no such table; "
                    f"{recipes.choices(name, known, 'there are')}"
                )
        return tuple(table for table in self.tables if not names or table.name in names)


def _check_once(key: str, names: tuple[str, ...] | list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{key}: {twice} stands there twice; leave one out")
