"""Units of measurement in words: `km/h` → "kilometres per hour", singular and plural, in each language of spoken text.

A unit is a product and quotient of symbols with powers: `kg`, `m/s²`, `kg·m^2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from speech.number_words import decimal_words


@dataclass(frozen=True, slots=True)
class _Name:
    """What a symbol is called."""

    one: str
    many: str
    feminine: bool = False
    has_area: bool = False
    """Its square is an area: "square metres", but "seconds squared"."""


@dataclass(frozen=True)
class _Units:
    """The units of a language and how they are put together."""

    names: Mapping[str, _Name]
    per: str
    area: str
    volume: str
    squared: str
    cubed: str
    power: str

    def name(self, symbol: str, exponent: int, *, plural: bool) -> str:
        """A unit with an exponent of at least 1: "metres", "square metres", "seconds squared"."""
        unit = self.names[symbol]
        noun = unit.many if plural else unit.one
        if exponent == 1:
            return noun
        form = {2: self.area if unit.has_area else self.squared, 3: self.volume if unit.has_area else self.cubed}.get(
            exponent, self.power
        )
        lower = noun[0].lower() + noun[1:] if form.startswith(("Quadrat", "Kubik")) else noun
        ending = "s" if plural else ""
        gender = "e" if unit.feminine else ""
        return form.format(noun=lower, s=ending, e=gender, power=exponent)


Factor = tuple[str, int]
"""A symbol and its exponent: ("s", -2)."""


def units_of(language: str) -> frozenset[str]:
    """The symbols that have a name in a language."""
    return frozenset(_LANGUAGES[language].names)


def prose_units(language: str) -> str:
    """A regular expression of the units that follow a number in ordinary text, where `A` or `C` is rather a letter."""
    names = sorted(
        set(_LANGUAGES[language].names) - _RATHER_WORDS - _RATHER_WORDS_OF.get(language, frozenset()), key=len
    )
    symbols = "|".join(re.escape(one) for one in reversed(names) if len(one) > 1 or one == "°")
    single = "|".join(sorted(one for one in names if len(one) == 1 and one != "°"))
    after = "|".join(re.escape(one) for one in reversed(names))
    power = r"(?:[²³]|\^[23])?"
    # A single letter right after a number is rather a name: 5G, 3D, 10s; `m²` and `m/s` are not.
    return (
        rf"(?:{symbols}){power}(?:/(?:{after}){power})?|(?<=[ \u00a0\u202f])(?:{single}){power}(?:/(?:{after}){power})?"
        rf"|m(?:[²³]|/(?:s|h|min){power})|g/(?:l|m[²³]|cm[²³]|kg)"
    )


def parse_unit(text: str, language: str) -> tuple[Factor, ...] | None:
    """The factors of `m/s²` or `kg·m^2`, or None if it is not a unit."""
    factors: list[Factor] = []
    for index, part in enumerate(text.split("/")):
        for one in re.split(r"[\s·⋅*.\u00a0]+", part.strip()):
            found = re.fullmatch(r"([^\d²³⁻¹^-]+)(?:\^?([-−⁻]?)([\d²³¹]))?", one)
            if not found or found[1] not in _LANGUAGES[language].names:
                return None
            exponent = "0¹²³".find(found[3]) if found[3] and found[3] in "¹²³" else int(found[3] or 1)
            factors.append((found[1], -exponent if found[2] or index else exponent))
    return tuple(factors)


def unit_words(factors: Sequence[Factor], language: str, *, plural: bool) -> str:
    """`(("m", 1), ("s", -2))` → "metres per second squared"."""
    units = _LANGUAGES[language]
    above = [one for one in factors if one[1] > 0]
    below = [one for one in factors if one[1] < 0]
    names = [units.name(*one, plural=plural and one is above[-1]) for one in above]
    if language in ("fr", "es") and plural:
        names = [units.name(*one, plural=True) for one in above]
    return " ".join([*names, *(f"{units.per} {units.name(symbol, -power, plural=False)}" for symbol, power in below)])


def measure_words(plain: str, factors: Sequence[Factor], language: str) -> str:
    """A number, in digits with at most one point and no sign, with its unit: "one kilometre", "una hora"."""
    units = _LANGUAGES[language]
    first = units.names[factors[0][0]] if factors[0][1] > 0 else None
    number = agreeing(decimal_words(plain, language), feminine=bool(first and first.feminine), language=language)
    single = float(plain) == 1 or (language == "fr" and float(plain) < 2)
    return f"{number} {unit_words(factors, language, plural=not single)}"


def agreeing(number: str, *, feminine: bool, language: str) -> str:
    """The words of a number before a noun: "eins" → "ein", "uno" → "un", "veintiuno" → "veintiuna"."""
    if language == "es":
        if number.endswith("veintiuno"):
            return number.removesuffix("uno") + ("una" if feminine else "ún")
        if re.search(r"\buno$", number) and "coma" not in number:
            return number.removesuffix("uno") + ("una" if feminine else "un")
    if language == "fr" and feminine and re.search(r"\bun$", number) and "virgule" not in number:
        return number + "e"
    if language == "de" and re.search(r"(?:^|hundert|tausend)eins$", number):
        return number.removesuffix("eins") + ("eine" if feminine else "ein")
    return number


def _names(table: str, areas: Iterable[str] = ()) -> dict[str, _Name]:
    """Lines of `symbol one / many`, with `f:` before the symbol of a feminine noun."""
    names: dict[str, _Name] = {}
    for line in filter(None, map(str.strip, table.splitlines())):
        symbols, words = line.split(" ", 1)
        one, _, many = words.partition(" / ")
        for symbol in symbols.removeprefix("f:").split("|"):
            names[symbol] = _Name(one, many or one, symbols.startswith("f:"), symbol in areas)
    return names


_RATHER_WORDS = frozenset(("A", "N", "J", "K", "C", "F", "T"))
_RATHER_WORDS_OF = {"es": frozenset(("ha", "cal")), "de": frozenset(("bar",)), "en": frozenset(("bar", "cal"))}
_AREAS = ("mm", "cm", "dm", "m", "km", "µm", "μm", "nm", "ft", "in", "mi", "yd")
_LANGUAGES = {
    "en": _Units(
        _names("""
            nm nanometre / nanometres
            µm|μm micrometre / micrometres
            mm millimetre / millimetres
            cm centimetre / centimetres
            dm decimetre / decimetres
            m metre / metres
            km kilometre / kilometres
            ft foot / feet
            mi mile / miles
            mph mile per hour / miles per hour
            ha hectare / hectares
            µg|μg microgram / micrograms
            mg milligram / milligrams
            g gram / grams
            kg kilogram / kilograms
            t tonne / tonnes
            lb|lbs pound / pounds
            oz ounce / ounces
            ns nanosecond / nanoseconds
            µs|μs microsecond / microseconds
            ms millisecond / milliseconds
            s second / seconds
            min minute / minutes
            h hour / hours
            ml|mL millilitre / millilitres
            cl|cL centilitre / centilitres
            l|L litre / litres
            Hz hertz
            kHz kilohertz
            MHz megahertz
            GHz gigahertz
            mW milliwatt / milliwatts
            W watt / watts
            kW kilowatt / kilowatts
            MW megawatt / megawatts
            GW gigawatt / gigawatts
            Wh watt hour / watt hours
            kWh kilowatt hour / kilowatt hours
            MWh megawatt hour / megawatt hours
            mV millivolt / millivolts
            V volt / volts
            kV kilovolt / kilovolts
            mA milliampere / milliamperes
            A ampere / amperes
            Ω ohm / ohms
            kΩ kiloohm / kiloohms
            N newton / newtons
            kN kilonewton / kilonewtons
            J joule / joules
            kJ kilojoule / kilojoules
            MJ megajoule / megajoules
            eV electronvolt / electronvolts
            keV kiloelectronvolt / kiloelectronvolts
            MeV megaelectronvolt / megaelectronvolts
            Pa pascal / pascals
            hPa hectopascal / hectopascals
            kPa kilopascal / kilopascals
            bar bar / bars
            K kelvin / kelvins
            mol mole / moles
            cal calorie / calories
            kcal kilocalorie / kilocalories
            dB decibel / decibels
            kB|KB kilobyte / kilobytes
            MB megabyte / megabytes
            GB gigabyte / gigabytes
            TB terabyte / terabytes
            bit bit / bits
            kbit kilobit / kilobits
            Mbit megabit / megabits
            Gbit gigabit / gigabits
            °C degree Celsius / degrees Celsius
            °F degree Fahrenheit / degrees Fahrenheit
            ° degree / degrees
            C coulomb / coulombs
            F farad / farads
            T tesla / teslas
        """, _AREAS),
        per="per", area="square {noun}", volume="cubic {noun}", squared="{noun} squared", cubed="{noun} cubed",
        power="{noun} to the power of {power}",
    ),
    "de": _Units(
        _names("""
            nm Nanometer
            µm|μm Mikrometer
            mm Millimeter
            cm Zentimeter
            dm Dezimeter
            m Meter
            km Kilometer
            ha Hektar
            µg|μg Mikrogramm
            mg Milligramm
            g Gramm
            kg Kilogramm
            f:t Tonne / Tonnen
            f:ns Nanosekunde / Nanosekunden
            f:µs|μs Mikrosekunde / Mikrosekunden
            f:ms Millisekunde / Millisekunden
            f:s Sekunde / Sekunden
            f:min Minute / Minuten
            f:h Stunde / Stunden
            ml|mL Milliliter
            cl|cL Zentiliter
            l|L Liter
            Hz Hertz
            kHz Kilohertz
            MHz Megahertz
            GHz Gigahertz
            mW Milliwatt
            W Watt
            kW Kilowatt
            MW Megawatt
            GW Gigawatt
            f:Wh Wattstunde / Wattstunden
            f:kWh Kilowattstunde / Kilowattstunden
            f:MWh Megawattstunde / Megawattstunden
            mV Millivolt
            V Volt
            kV Kilovolt
            mA Milliampere
            A Ampere
            Ω Ohm
            kΩ Kiloohm
            N Newton
            kN Kilonewton
            J Joule
            kJ Kilojoule
            MJ Megajoule
            eV Elektronenvolt
            keV Kiloelektronenvolt
            MeV Megaelektronenvolt
            Pa Pascal
            hPa Hektopascal
            kPa Kilopascal
            bar Bar
            K Kelvin
            mol Mol
            f:cal Kalorie / Kalorien
            f:kcal Kilokalorie / Kilokalorien
            dB Dezibel
            kB|KB Kilobyte
            MB Megabyte
            GB Gigabyte
            TB Terabyte
            bit Bit
            kbit Kilobit
            Mbit Megabit
            Gbit Gigabit
            °C Grad Celsius
            °F Grad Fahrenheit
            ° Grad
            C Coulomb
            F Farad
            T Tesla
        """, _AREAS),
        per="pro", area="Quadrat{noun}", volume="Kubik{noun}", squared="{noun} zum Quadrat", cubed="{noun} hoch drei",
        power="{noun} hoch {power}",
    ),
    "fr": _Units(
        _names("""
            nm nanomètre / nanomètres
            µm|μm micromètre / micromètres
            mm millimètre / millimètres
            cm centimètre / centimètres
            dm décimètre / décimètres
            m mètre / mètres
            km kilomètre / kilomètres
            ha hectare / hectares
            µg|μg microgramme / microgrammes
            mg milligramme / milligrammes
            g gramme / grammes
            kg kilogramme / kilogrammes
            f:t tonne / tonnes
            f:ns nanoseconde / nanosecondes
            f:µs|μs microseconde / microsecondes
            f:ms milliseconde / millisecondes
            f:s seconde / secondes
            f:min minute / minutes
            f:h heure / heures
            ml|mL millilitre / millilitres
            cl|cL centilitre / centilitres
            l|L litre / litres
            Hz hertz
            kHz kilohertz
            MHz mégahertz
            GHz gigahertz
            mW milliwatt / milliwatts
            W watt / watts
            kW kilowatt / kilowatts
            MW mégawatt / mégawatts
            GW gigawatt / gigawatts
            Wh wattheure / wattheures
            kWh kilowattheure / kilowattheures
            MWh mégawattheure / mégawattheures
            mV millivolt / millivolts
            V volt / volts
            kV kilovolt / kilovolts
            mA milliampère / milliampères
            A ampère / ampères
            Ω ohm / ohms
            kΩ kiloohm / kiloohms
            N newton / newtons
            kN kilonewton / kilonewtons
            J joule / joules
            kJ kilojoule / kilojoules
            MJ mégajoule / mégajoules
            eV électronvolt / électronvolts
            keV kiloélectronvolt / kiloélectronvolts
            MeV mégaélectronvolt / mégaélectronvolts
            Pa pascal / pascals
            hPa hectopascal / hectopascals
            kPa kilopascal / kilopascals
            bar bar / bars
            K kelvin / kelvins
            f:mol mole / moles
            f:cal calorie / calories
            f:kcal kilocalorie / kilocalories
            dB décibel / décibels
            kB|ko kilooctet / kilooctets
            MB|Mo mégaoctet / mégaoctets
            GB|Go gigaoctet / gigaoctets
            TB|To téraoctet / téraoctets
            bit bit / bits
            kbit kilobit / kilobits
            Mbit mégabit / mégabits
            Gbit gigabit / gigabits
            °C degré Celsius / degrés Celsius
            °F degré Fahrenheit / degrés Fahrenheit
            ° degré / degrés
            C coulomb / coulombs
            F farad / farads
            T tesla / teslas
        """, _AREAS),
        per="par", area="{noun} carré{s}", volume="{noun} cube{s}", squared="{noun} carré{e}{s}",
        cubed="{noun} cube{s}", power="{noun} puissance {power}",
    ),
    "es": _Units(
        _names("""
            nm nanómetro / nanómetros
            µm|μm micrómetro / micrómetros
            mm milímetro / milímetros
            cm centímetro / centímetros
            dm decímetro / decímetros
            m metro / metros
            km kilómetro / kilómetros
            f:ha hectárea / hectáreas
            µg|μg microgramo / microgramos
            mg miligramo / miligramos
            g gramo / gramos
            kg kilogramo / kilogramos
            f:t tonelada / toneladas
            ns nanosegundo / nanosegundos
            µs|μs microsegundo / microsegundos
            ms milisegundo / milisegundos
            s segundo / segundos
            min minuto / minutos
            f:h hora / horas
            ml|mL mililitro / mililitros
            cl|cL centilitro / centilitros
            l|L litro / litros
            Hz hercio / hercios
            kHz kilohercio / kilohercios
            MHz megahercio / megahercios
            GHz gigahercio / gigahercios
            mW milivatio / milivatios
            W vatio / vatios
            kW kilovatio / kilovatios
            MW megavatio / megavatios
            GW gigavatio / gigavatios
            Wh vatio hora / vatios hora
            kWh kilovatio hora / kilovatios hora
            MWh megavatio hora / megavatios hora
            mV milivoltio / milivoltios
            V voltio / voltios
            kV kilovoltio / kilovoltios
            mA miliamperio / miliamperios
            A amperio / amperios
            Ω ohmio / ohmios
            kΩ kiloohmio / kiloohmios
            N newton / newtons
            kN kilonewton / kilonewtons
            J julio / julios
            kJ kilojulio / kilojulios
            MJ megajulio / megajulios
            eV electronvoltio / electronvoltios
            keV kiloelectronvoltio / kiloelectronvoltios
            MeV megaelectronvoltio / megaelectronvoltios
            Pa pascal / pascales
            hPa hectopascal / hectopascales
            kPa kilopascal / kilopascales
            bar bar / bares
            K kelvin / kelvins
            mol mol / moles
            f:cal caloría / calorías
            f:kcal kilocaloría / kilocalorías
            dB decibelio / decibelios
            kB|KB kilobyte / kilobytes
            MB megabyte / megabytes
            GB gigabyte / gigabytes
            TB terabyte / terabytes
            bit bit / bits
            kbit kilobit / kilobits
            Mbit megabit / megabits
            Gbit gigabit / gigabits
            °C grado Celsius / grados Celsius
            °F grado Fahrenheit / grados Fahrenheit
            ° grado / grados
            C culombio / culombios
            F faradio / faradios
            T tesla / teslas
        """, _AREAS),
        per="por", area="{noun} cuadrado{s}", volume="{noun} cúbico{s}", squared="{noun} al cuadrado",
        cubed="{noun} al cubo", power="{noun} elevado a {power}",
    ),
}  # fmt: skip
