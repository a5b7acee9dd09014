"""The names of units in each language, singular and plural, and how a language puts them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitName:
    """What a symbol is called."""

    one: str
    many: str
    feminine: bool = False
    has_area: bool = False
    """Its square is an area: "square metres", but "seconds squared"."""


@dataclass(frozen=True)
class UnitGrammar:
    """The units of a language and how they are put together."""

    names: Mapping[str, UnitName]
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


def _names(table: str, areas: Iterable[str] = ()) -> dict[str, UnitName]:
    """Lines of `symbol one / many`, with `f:` before the symbol of a feminine noun."""
    names: dict[str, UnitName] = {}
    for line in filter(None, map(str.strip, table.splitlines())):
        symbols, words = line.split(" ", 1)
        one, _, many = words.partition(" / ")
        for symbol in symbols.removeprefix("f:").split("|"):
            names[symbol] = UnitName(one, many or one, symbols.startswith("f:"), symbol in areas)
    return names


_AREAS = ("mm", "cm", "dm", "m", "km", "µm", "μm", "nm", "ft", "in", "mi", "yd")
UNITS = {
    "en": UnitGrammar(
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
    "de": UnitGrammar(
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
    "fr": UnitGrammar(
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
    "es": UnitGrammar(
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
