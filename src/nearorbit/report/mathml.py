r"""Formulas of docstrings as MathML, which browsers set by themselves, without a network.

The part of LaTeX that docstrings use: sub- and superscripts, fractions and roots, accents, fences of a given size,
named functions, spaces and several lines. What is not known here is refused and not guessed at.
"""

import re
from contextlib import suppress
from html import escape
from unicodedata import lookup

TOKEN = re.compile(r"\\text\{[^{}]*\}|\\[a-zA-Z]+\*?|\\.|\d+(?:\.\d+)?|\S", re.DOTALL)
IDENTIFIERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "ell": "ℓ",
}  # fmt: skip
OPERATORS = {
    "approx": "≈", "cdot": "⋅", "circ": "∘", "ge": "≥", "geq": "≥", "in": "∈", "le": "≤", "leftarrow": "←", "leq": "≤",
    "mapsto": "↦", "neq": "≠", "otimes": "⊗", "pm": "±", "propto": "∝", "sim": "∼", "times": "×", "to": "→", "-": "−",
    "*": "∗",
}  # fmt: skip
UPRIGHT = {"cdots": "⋯", "dots": "…", "infty": "∞", "nabla": "∇", "partial": "∂", "top": "⊤", "%": "%", "_": "_"}
LARGE = {"sum": "∑", "prod": "∏", "int": "∫", "oint": "∮"}
FENCES = {"\\langle": "⟨", "\\rangle": "⟩", "\\{": "{", "\\}": "}", "\\|": "‖"} | {fence: fence for fence in "()[]|/"}
FUNCTIONS = {"arg", "cos", "det", "exp", "inf", "lim", "ln", "log", "max", "min", "sin", "sup"}
LIMITS = {"inf", "lim", "max", "min", "prod", "sum", "sup"}  # what has its scripts above and below
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "dot": "˙", "ddot": "¨"}
SPACES = {" ": "0.33em", ",": "0.17em", ";": "0.28em", "!": "-0.17em", "quad": "1em", "qquad": "2em"}
LETTERS = {"mathbb": "DOUBLE-STRUCK", "mathcal": "SCRIPT"}  # what Unicode calls them
SIZES = {"big": "1.2em", "Big": "1.62em", "left": ""}  # the last grows with what is in it


def mathml(latex: str, *, block: bool = False) -> str:
    r"""Translate a formula.

    Arguments:
        latex: The formula, of one line or of several that ``\\`` separates.
        block: Whether it stands by itself.

    Returns:
        The element ``<math>``.

    Raises:
        ValueError: If there is something in it that is not known here.
    """
    lines = [
        [_Formula(part).row() for part in re.split(r"(?<!\\)&", line)] for line in re.split(r"\\\\(?![a-zA-Z])", latex)
    ]
    table = "".join(f"<mtr>{_aligned(line) if len(line) > 1 else f'<mtd>{line[0]}</mtd>'}</mtr>" for line in lines)
    body = lines[0][0] if len(lines) == len(lines[0]) == 1 else f'<mtable displaystyle="true">{table}</mtable>'
    return f'<math display="{"block" if block else "inline"}"><mrow>{body}</mrow></math>'


class _Formula:
    """A line of a formula, of which what has been translated is taken away."""

    def __init__(self, latex: str):
        self.latex, self.rest = latex, TOKEN.findall(latex)[::-1]

    def row(self, end: str | None = None) -> str:
        """Translate up to a token, or all."""
        made: list[str] = []
        while self.rest and self.rest[-1] != end:
            made.append(self.scripted())
        if end is not None:
            self.take(f"'{end}'")
        return "".join(made)

    def take(self, expected: str = "something") -> str:
        """Take the next token."""
        if not self.rest:
            raise ValueError(f"{self.latex}: {expected} is missing at the end")
        return self.rest.pop()

    def scripted(self) -> str:
        """Translate an element with what stands below and above it."""
        limits = self.rest[-1].removeprefix("\\") in LIMITS
        base, below, above = self.element(), "", ""
        while self.rest and self.rest[-1] in ("_", "^", "'"):
            mark = self.take()
            if mark == "_":
                below += self.argument()
            else:
                above += self.argument() if mark == "^" else "<mo>′</mo>"
        scripts = [f"<mrow>{script}</mrow>" for script in (below, above) if script]
        if not scripts:
            return base
        names = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        name = names[2 if len(scripts) == 2 else 0 if below else 1]
        # A fence is not stretched where it is all that a script stands at: with an empty identifier it is not all.
        return (
            f"<{name}><mrow>{base}<mi></mi></mrow>{''.join(scripts)}</{name}>"
            if "minsize" in base[:60]
            else (f"<{name}>{base}{''.join(scripts)}</{name}>")
        )

    def argument(self) -> str:
        """Translate what a command applies to: a group, or the next token, of a number its first digit."""
        if self.rest and re.fullmatch(r"\d.+", self.rest[-1]):
            number = self.take()
            self.rest += [number[1:], number[0]]
        return self.element()

    def element(self) -> str:
        """Translate an element alone."""
        token = self.take()
        if token == "{":
            return f"<mrow>{self.row('}')}</mrow>"
        if token in FENCES:
            return _fence(FENCES[token])
        if token.startswith("\\text{"):
            return f"<mtext>{escape(token[6:-1])}</mtext>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token in ("}", "_", "^", "'"):
            raise ValueError(f"{self.latex}: nothing to which '{token}' belongs")
        kind = "mi" if token.isalpha() else "mn" if token[0].isdigit() else "mo"
        return f"<{kind}>{escape(OPERATORS.get(token, token))}</{kind}>"

    def command(self, name: str) -> str:
        """Translate a command."""
        if name in IDENTIFIERS:
            return f"<mi>{IDENTIFIERS[name]}</mi>"
        if name in UPRIGHT:
            return f'<mi mathvariant="normal">{UPRIGHT[name]}</mi>'
        if name in OPERATORS or name in LARGE:
            return f"<mo>{(OPERATORS | LARGE)[name]}</mo>"
        if name in FUNCTIONS:
            return _function(name)
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"/>'
        if name in ACCENTS:
            return f'<mover accent="true">{self.argument()}<mo stretchy="false">{ACCENTS[name]}</mo></mover>'
        if name in ("frac", "tfrac"):
            small = ' displaystyle="false"' if name == "tfrac" else ""
            return f"<mfrac{small}>{self.argument()}{self.argument()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.argument()}</msqrt>"
        if name in LETTERS:
            return f'<mi mathvariant="normal">{_letter(LETTERS[name], re.sub("<.*?>", "", self.argument()))}</mi>'
        if name == "mathrm":
            return f'<mi mathvariant="normal">{re.sub("<.*?>", "", self.argument())}</mi>'
        if name == "operatorname":
            return _function(re.sub("<.*?>", "", self.argument()))
        if name in SIZES:
            return self.fenced(name)
        raise ValueError(f"{self.latex}: '\\{name}' is not known here")

    def fenced(self, name: str) -> str:
        """Translate a fence of a given size, or a pair of them that grows with what is between."""
        signs = [self.take("a fence")]
        if name == "left":
            inner = self.row("\\right")
            signs.append(self.take("a fence"))
        if wrong := [sign for sign in signs if sign not in FENCES]:
            raise ValueError(f"{self.latex}: '{wrong[0]}' is no fence")
        if name == "left":
            return f"<mrow><mo>{FENCES[signs[0]]}</mo>{inner}<mo>{FENCES[signs[1]]}</mo></mrow>"
        return _fence(
            FENCES[signs[0]], f'minsize="{SIZES[name]}" maxsize="{SIZES[name]}" stretchy="true" symmetric="true"'
        )


def _aligned(parts: list[str]) -> str:
    """Put the parts of a line side by side: of every two the first ends where the second begins."""
    style = ("text-align: right; padding: 0", "text-align: left; padding: 0")
    return "".join(f'<mtd style="{style[place % 2]}">{part}</mtd>' for place, part in enumerate(parts))


def _letter(kind: str, letter: str) -> str:
    """Find a capital letter among those of a kind, some of which Unicode had before the others."""
    for name in (f"MATHEMATICAL {kind} CAPITAL {letter}", f"{kind} CAPITAL {letter}"):
        with suppress(KeyError):
            return lookup(name)
    raise ValueError(f"'{letter}' is no capital letter of these")


def _fence(sign: str, size: str = 'stretchy="false"') -> str:
    return f'<mo {size} lspace="0" rspace="0">{sign}</mo>'


def _function(name: str) -> str:
    return f'<mo lspace="0.17em" rspace="0.17em" movablelimits="true">{name}</mo>'
