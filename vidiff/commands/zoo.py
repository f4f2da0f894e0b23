"""List the trained models that come with the package, show the card of one, or add one."""

from __future__ import annotations

from pathlib import Path

from vidiff.errors import UsageError


def zoo(
    what: str | None = None,
    run: Path | None = None,
    *,
    name: str | None = None,
    also: list[Path] | None = None,
    limits: str = "",
    hardware: str = "",
    output: Path | None = None,
) -> None:
    """List the trained models that come with the package, show the card of one, or add one made of a run.

    Args:
        what: a model, whose card is shown; without it, what there is; `add`: make a model of a run.
        run: with `add`, folder of a finished run on an embedded set; what its report is about is shipped.
        name: with `add`, the name of the new model.
        also, limits, hardware, output: see `vidiff.inference.zoo_add.add_to_zoo`.
    """
    from vidiff import zoo as models
    from vidiff.zoo.cards import size, table, text

    if what == "add":
        if run is None or name is None:
            raise UsageError("vidiff zoo add RUN --name NAME: the run and the name are needed")
        from vidiff.inference.zoo_add import add_to_zoo

        card = add_to_zoo(run, name, also=also or (), limits=limits, hardware=hardware, output=output)
        print(f"zoo:{name}: {size(card['file']['bytes'])}, sha256 {card['file']['sha256'][:16]}")
        return
    if run is not None or name or also or limits or hardware or output:
        raise UsageError("a run and options belong to `vidiff zoo add RUN --name NAME`")
    if what is None:
        print(table(models.all_cards()))
        print("\n`vidiff zoo NAME` shows a card; zoo:NAME is taken where a trained model is: --ckpt zoo:NAME")
        return
    print(text(models.card_of(what.removeprefix(models.PREFIX))))
