"""Words that no term and no name begins or ends with, by language."""

from __future__ import annotations

from collections.abc import Mapping

_TEXTS: Mapping[str, str] = {
    "en": "a about after all also an and any are as at be because been before but by can come could did do does don't "
    "each even every for from get go going good got had has have he her here him his how i i'm if in into is it it's its "
    "just know last let let's like look made make many may me more most much must my need new no not now of on one only "
    "or other our out over really say see she should show so some such take than that that's the their them then there "
    "these they thing things think this those three through time to today too two under up us use used using very want "
    "was way we we're well were what when where which while who why will with work would year you your",
    "es": "a al algo así aunque como con cosa cuando de del desde donde dos el ella ellos en entonces era es esa ese eso "
    "esta está están este esto fue ha hace hacer hay la las le lo los más me mi muy no nos nosotros o para pero por porque "
    "puede que qué se ser si sí sin sobre son su sus también tan tiene todo todos tres un una uno vamos ver y ya yo",
    "de": "aber alle als also am an auch auf aus bei bin bis da dann das dass dem den der des die dies diese doch du ein "
    "eine einem einen einer es für ganz gibt haben hat hier ich ihr im immer in ist ja kann können man mehr mit nach nicht "
    "noch nun nur oder schon sehr sein sich sie sind so über um und uns von vor war was wenn werden wie wieder wir wird zu "
    "zum zur",
    "fr": "a ai alors au aussi avec avoir bien c'est ça ce ces cette comme dans de des deux donc du elle en encore est et "
    "être eux fait faire il ils je la le les leur lui mais me même mon ne nous on ont ou où par pas plus pour qu que qui "
    "sa se ses si son sont sur tout très tu un une va voilà vous y",
    "it": "a al alla anche che chi ci come con cosa cui da dal dei del della di due e è essere fa gli ha i il in io la le "
    "lo loro ma mi molto nel nella non o per perché più poi può qui se si sono su un una uno",
    "pt": "a ao as até com como da das de do dos e é ela ele em então era essa esse esta está este eu foi isso já mais mas "
    "me muito na não nas no nos o os ou para pela pelo por porque que se sem ser seu sua também tem um uma vai você",
    "ru": "а будет бы был была были в вам вас весь во вот все всё вы где да для до его ее её если есть еще ещё же за и из "
    "или им их к как когда которые который кто ли мне можно мы на надо не него нет но ну о об он она они от очень по под "
    "потом при раз с сейчас со так также там то только тоже у уже чем что чтобы эта это этого этой этот я",
}
STOP_WORDS: Mapping[str, frozenset[str]] = {language: frozenset(text.split()) for language, text in _TEXTS.items()}
