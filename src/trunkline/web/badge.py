"""The little picture that a README shows."""


def badge_svg(passing: bool) -> str:
    word, colour = ("passing", "#2e8555") if passing else ("failing", "#c0392b")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="92" height="20" role="img" '
        f'aria-label="build: {word}"><title>build: {word}</title>'
        '<clipPath id="r"><rect width="92" height="20" rx="4"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="38" height="20" fill="#444f5a"/><rect x="38" width="54" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="19" y="14">build</text><text x="65" y="14">{word}</text></g></svg>'
    )
