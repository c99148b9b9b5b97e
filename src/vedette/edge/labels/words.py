"""The plain words on labels, short, polite, without terms of the trade.

To add a language: add its row, and have somebody who speaks it read it on paper.
"""

from typing import Final

import msgspec


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """One language. `{what}` in `power_of` is the name of the thing that the plug feeds."""

    device: str
    device_please: str
    camera: str
    camera_please: str
    power: str
    power_of: str
    power_please: str
    call: str


LANGUAGES: Final[dict[str, Words]] = {
    "en": Words(
        device="This box watches over the cameras",
        device_please="Please leave it on and leave its cables in. Keep its vents free: nothing on "
        "top, nothing in front. Its lights may blink at night.",
        camera="This camera is in use",
        camera_please="Please do not turn, cover or spray it. Is it dirty? Wipe it gently with a "
        "dry cloth. Does something have to stand in front of it? Tell us first.",
        power="DO NOT UNPLUG",
        power_of="This plug feeds: {what}",
        power_please="Not even for a minute, and not for a phone or a vacuum cleaner.",
        call="Anything wrong, or does it have to move? Call first:",
    ),
    "de": Words(
        device="Dieses Gerät betreut die Kameras",
        device_please="Bitte eingeschaltet und verkabelt lassen. Lüftung frei halten: nichts "
        "darauf, nichts davor. Lichter dürfen auch nachts blinken.",
        camera="Diese Kamera ist in Betrieb",
        camera_please="Bitte nicht drehen, abdecken oder besprühen. Schmutzig? Mit einem trockenen "
        "Tuch sanft abwischen. Muss etwas davor stehen? Bitte vorher Bescheid geben.",
        power="NICHT AUSSTECKEN",
        power_of="Dieser Stecker versorgt: {what}",
        power_please="Auch nicht kurz, auch nicht für ein Telefon oder den Staubsauger.",
        call="Stimmt etwas nicht, oder muss es bewegt werden? Erst anrufen:",
    ),
    "es": Words(
        device="Este equipo cuida de las cámaras",
        device_please="Déjelo encendido y con sus cables. No tape la ventilación: nada encima ni "
        "delante. Las luces pueden parpadear de noche.",
        camera="Esta cámara está en uso",
        camera_please="No la gire, no la tape, no la rocíe. ¿Está sucia? Pase con cuidado un paño "
        "seco. ¿Hay que poner algo delante? Avísenos antes.",
        power="NO DESENCHUFAR",
        power_of="Este enchufe alimenta: {what}",
        power_please="Ni un minuto, ni para un teléfono ni para la aspiradora.",
        call="¿Algo va mal o hay que moverlo? Llame antes:",
    ),
    "fr": Words(
        device="Ce boîtier veille sur les caméras",
        device_please="Merci de le laisser allumé et câblé. Laissez l'aération libre : rien "
        "dessus, rien devant. Les voyants peuvent clignoter la nuit.",
        camera="Cette caméra est en service",
        camera_please="Merci de ne pas la tourner, la couvrir ou l'asperger. Elle est sale ? "
        "Essuyez-la doucement avec un chiffon sec. Un objet doit être devant ? "
        "Prévenez-nous avant.",
        power="NE PAS DÉBRANCHER",
        power_of="Cette prise alimente : {what}",
        power_please="Pas même une minute, ni pour un téléphone, ni pour l'aspirateur.",
        call="Un problème, ou faut-il le déplacer ? Appelez d'abord :",
    ),
    "pt": Words(
        device="Esta caixa cuida das câmaras",
        device_please="Deixe-a ligada e com os cabos. Não tape a ventilação: nada em cima, nada à "
        "frente. As luzes podem piscar à noite.",
        camera="Esta câmara está em uso",
        camera_please="Não a rode, não a tape, não a borrife. Está suja? Limpe-a com cuidado com "
        "um pano seco. É preciso pôr algo à frente? Avise-nos antes.",
        power="NÃO DESLIGAR DA TOMADA",
        power_of="Esta ficha alimenta: {what}",
        power_please="Nem por um minuto, nem para um telefone ou o aspirador.",
        call="Algo está mal ou é preciso mudar de lugar? Ligue primeiro:",
    ),
}
