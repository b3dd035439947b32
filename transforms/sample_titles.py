"""Write a made-up file of product titles in the shape of the MeLi Data Challenge of 2019.

Products, sellers and titles are invented: nouns, brands and features are drawn from the lists below. What is kept of
real titles is everything a job that embeds them has to cope with:

* columns title, label_quality, language and category; commas, quotes and line ends inside quoted fields;
* categories whose sizes fall with their rank; words whose frequency does too, and model numbers that hardly repeat;
* Spanish and Portuguese, with accents as often as not, punctuation, double spaces, spaces at both ends, emoji;
* the same title twice, nearly the same title twice, and the same title under two categories; labels of poor quality.

The file is made in blocks, so memory does not grow with it.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transforms import storage

HEADER = ("title", "label_quality", "language", "category")
LANGUAGES = ("spanish", "portuguese")
BLOCK_ROWS = 20_000
EXPONENT = 0.8  # of the categories' sizes

# Shares of rows.
COPIES = 0.02
NEAR_COPIES = 0.015
CONFLICTS = 0.004
RELIABLE = 0.35
WRONG_LABELS = 0.08  # of those that are not reliable

# A line a category: its name; kinds of features; nouns in Spanish; nouns in Portuguese.
CATEGORIES = """
CELLPHONES|tech,color|Celular,Teléfono,Smartphone,Celular Libre|Celular,Smartphone,Telefone,Celular Desbloqueado
CELLPHONE_COVERS|tech,color|Funda,Funda Silicona,Case,Protector,Funda Antigolpe|Capa,Capinha,Case,Película
TELEVISIONS|screen|Smart Tv,Televisor,Tv Led,Televisión|Smart Tv,Televisor,Tv Led,Televisão
TV_REMOTE_CONTROLS|tech|Control Remoto,Control Remoto Tv,Mando|Controle Remoto,Controle Para Tv,Controle
HEADPHONES|tech,color|Auriculares,Audífonos,Auriculares Bluetooth,Auricular Gamer|Fone De Ouvido,Fone Bluetooth,Headset
NOTEBOOKS|memory|Notebook,Laptop,Portátil,Notebook Gamer|Notebook,Laptop,Notebook Gamer,Ultrabook
COMPUTER_MONITORS|screen|Monitor,Monitor Led,Monitor Gamer,Pantalla|Monitor,Monitor Led,Monitor Gamer,Tela
PC_KEYBOARDS|tech,color|Teclado,Teclado Mecánico,Teclado Inalámbrico|Teclado,Teclado Mecânico,Teclado Sem Fio
COMPUTER_MICE|tech,color|Mouse,Mouse Inalámbrico,Mouse Gamer|Mouse,Mouse Sem Fio,Mouse Gamer
MEMORY_CARDS|memory|Memoria Micro Sd,Tarjeta De Memoria,Memoria Sd|Cartão De Memória,Cartão Micro Sd,Memória Sd
HARD_DRIVES|memory|Disco Duro,Disco Rígido,Disco Externo|Hd Externo,Disco Rígido,Hd Sata
PRINTERS|tech|Impresora,Impresora Multifunción,Impresora Láser|Impressora,Impressora Multifuncional,Impressora Laser
DIGITAL_CAMERAS|tech,color|Cámara Digital,Cámara,Cámara Réflex|Câmera Digital,Câmera,Câmera Profissional
SPEAKERS|tech,color|Parlante,Bocina,Parlante Bluetooth,Altavoz|Caixa De Som,Alto Falante,Caixa De Som Bluetooth
VIDEO_GAMES|game|Juego,Videojuego,Juego Físico|Jogo,Game,Jogo Mídia Física
GAME_CONSOLES|game,color|Consola,Consola De Juegos|Console,Video Game,Videogame
SNEAKERS|size,color|Zapatillas,Tenis,Zapatillas Running,Calzado Deportivo|Tênis,Tênis Corrida,Tênis Esportivo,Sapatênis
BOOTS|size,color|Botas,Borceguíes,Botines,Bota Cuero|Bota,Botina,Coturno,Bota Couro
T_SHIRTS|size,color|Remera,Playera,Camiseta,Polera|Camiseta,Camisa,Blusa,Regata
JACKETS|size,color|Campera,Chaqueta,Chamarra,Abrigo|Jaqueta,Casaco,Blusa De Frio,Jaqueta Couro
DRESSES|size,color|Vestido,Vestido De Fiesta,Vestido Corto|Vestido,Vestido De Festa,Vestido Curto
JEANS|size,color|Jean,Pantalón De Mezclilla,Jeans Chupín|Calça Jeans,Calça,Jeans Skinny
HANDBAGS|color|Cartera,Bolso,Bolsa Mujer|Bolsa,Bolsa Feminina,Carteira
BACKPACKS|color|Mochila,Mochila Escolar,Morral|Mochila,Mochila Escolar,Mochila Notebook
SUNGLASSES|color|Lentes De Sol,Gafas,Anteojos De Sol|Óculos De Sol,Óculos,Óculos Polarizado
WRISTWATCHES|color|Reloj,Reloj Pulsera,Smartwatch|Relógio,Relógio De Pulso,Smartwatch
PERFUMES|volume|Perfume,Colonia,Eau De Toilette|Perfume,Colônia,Eau De Parfum
LIPSTICKS|color|Labial,Lápiz Labial,Labial Mate|Batom,Batom Líquido,Batom Matte
HAIR_DRYERS|power,color|Secador De Pelo,Secadora De Cabello|Secador De Cabelo,Secador Profissional
SHAVING_MACHINES|power|Afeitadora,Máquina De Afeitar,Cortapelo|Barbeador,Máquina De Cortar Cabelo,Aparador
BLENDERS|power,color|Licuadora,Licuadora De Vaso,Mixer|Liquidificador,Mixer,Processador
COFFEE_MAKERS|power,color|Cafetera,Cafetera Express,Cafetera Italiana|Cafeteira,Cafeteira Expresso,Cafeteira Italiana
REFRIGERATORS|volume,color|Heladera,Refrigerador,Nevera,Freezer|Geladeira,Refrigerador,Freezer,Frigobar
WASHING_MACHINES|power|Lavarropas,Lavadora,Lavasecarropas|Máquina De Lavar,Lavadora,Lava E Seca
AIR_CONDITIONERS|power|Aire Acondicionado,Split,Aire Portátil|Ar Condicionado,Split,Climatizador
FANS|power,color|Ventilador,Ventilador De Pie,Turbo|Ventilador,Ventilador De Mesa,Circulador De Ar
VACUUM_CLEANERS|power|Aspiradora,Aspiradora Robot,Aspiradora De Mano|Aspirador De Pó,Aspirador Robô,Aspirador Portátil
MATTRESSES|measure|Colchón,Colchón Resortes,Sommier|Colchão,Colchão De Mola,Cama Box
SHEETS|measure,color|Sábanas,Juego De Sábanas,Sábana Ajustable|Jogo De Lençol,Lençol,Lençol De Elástico
COMFORTERS|measure,color|Acolchado,Edredón,Cubrecama|Edredom,Cobertor,Colcha
CURTAINS|measure,color|Cortina,Cortinas Blackout,Cortina De Baño|Cortina,Cortina Blackout,Cortina De Banheiro
PILLOWS|measure,color|Almohada,Almohadón,Cojín|Travesseiro,Almofada,Travesseiro De Viagem
SOFAS|measure,color|Sofá,Sillón,Sofá Cama,Futón|Sofá,Poltrona,Sofá Cama,Sofá Retrátil
DINING_TABLES|measure,color|Mesa,Mesa De Comedor,Mesa Ratona|Mesa,Mesa De Jantar,Mesa De Centro
OFFICE_CHAIRS|color|Silla De Oficina,Silla Gamer,Sillón|Cadeira De Escritório,Cadeira Gamer,Cadeira Giratória
LAMPS|power,color|Lámpara,Velador,Lámpara Colgante|Luminária,Abajur,Pendente
LED_BULBS|power|Lámpara Led,Foco Led,Ampolleta|Lâmpada Led,Lâmpada,Kit Lâmpada
DRILLS|power|Taladro,Taladro Percutor,Atornillador|Furadeira,Parafusadeira,Furadeira De Impacto
GRINDERS|power|Amoladora,Amoladora Angular,Esmeriladora|Esmerilhadeira,Lixadeira,Esmeril
WELDING_MACHINES|power|Soldadora,Soldadora Inverter,Máquina De Soldar|Máquina De Solda,Inversora De Solda
DOOR_LOCKS|measure|Cerradura,Cerradura Electromagnética,Candado|Fechadura,Fechadura Elétrica,Cadeado
FAUCETS|color|Grifería,Canilla,Monocomando|Torneira,Misturador,Torneira Gourmet
CAR_TIRES|measure|Neumático,Cubierta,Llanta|Pneu,Pneu Aro,Pneu Remold
CAR_HEADLIGHTS|car|Óptica,Faro Delantero,Farola|Farol,Farol Dianteiro,Lanterna
BRAKE_PADS|car|Pastillas De Freno,Balatas,Juego De Pastillas|Pastilha De Freio,Jogo De Pastilhas
SHOCK_ABSORBERS|car|Amortiguador,Amortiguadores,Kit Amortiguadores|Amortecedor,Amortecedor Dianteiro,Kit Amortecedor
CAR_STEREOS|car,tech|Estéreo,Autoestéreo,Radio Para Auto|Som Automotivo,Rádio Para Carro,Central Multimídia
MOTORCYCLE_HELMETS|size,color|Casco,Casco Moto,Casco Integral|Capacete,Capacete Moto,Capacete Fechado
BICYCLES|measure,color|Bicicleta,Bicicleta Mountain Bike,Bici Plegable|Bicicleta,Bike,Bicicleta Dobrável
BICYCLE_HELMETS|size,color|Casco Bicicleta,Casco Ciclismo|Capacete Bicicleta,Capacete Ciclismo
DUMBBELLS|weight|Mancuerna,Pesas,Set De Mancuernas|Halter,Par De Halteres,Kit Anilhas
FOOTBALL_BALLS|size,color|Pelota De Fútbol,Balón,Pelota Nro 5|Bola De Futebol,Bola,Bola Society
CAMPING_TENTS|measure|Carpa,Tienda De Campaña,Carpa Iglú|Barraca,Barraca De Camping,Barraca Iglu
FISHING_REELS|weight|Reel,Carrete De Pesca,Reel Frontal|Molinete,Carretilha,Molinete De Pesca
DOG_FOODS|weight|Alimento Perro,Croquetas,Balanceado|Ração Cachorro,Ração,Ração Filhotes
CAT_LITTERS|weight|Piedras Sanitarias,Arena Para Gatos|Areia Higiênica,Areia Para Gatos
AQUARIUM_FILTERS|volume|Filtro Acuario,Filtro Pecera|Filtro Aquário,Filtro Interno
BABY_STROLLERS|color|Cochecito,Carriola,Coche De Bebé|Carrinho De Bebê,Carrinho,Carrinho Passeio
DIAPERS|size|Pañales,Pañal Descartable|Fraldas,Fralda Descartável
DOLLS|color|Muñeca,Muñeca Bebote|Boneca,Boneca Bebê Reborn
BUILDING_BLOCKS|pieces|Bloques Para Armar,Ladrillitos|Blocos De Montar,Bloquinhos
PUZZLES|pieces|Rompecabezas,Puzzle|Quebra Cabeça,Puzzle
BOARD_GAMES|pieces|Juego De Mesa,Juego De Cartas|Jogo De Tabuleiro,Jogo De Cartas
TOY_CARS|color|Autito,Camión De Juguete,Pista De Autos|Carrinho De Brinquedo,Caminhão,Pista De Carrinhos
ACOUSTIC_GUITARS|color|Guitarra Criolla,Guitarra Acústica|Violão,Violão Elétrico
ELECTRIC_GUITARS|color|Guitarra Eléctrica,Guitarra Stratocaster|Guitarra,Guitarra Elétrica
MUSICAL_KEYBOARDS|tech|Teclado Musical,Piano Digital|Teclado Musical,Piano Digital
DRUM_KITS|color|Batería,Batería Musical,Bombo|Bateria,Bateria Acústica,Bumbo
BOOKS|book|Libro,Novela,Libro Usado|Livro,Romance,Livro Usado
COMIC_BOOKS|book|Historieta,Cómic,Manga|Gibi,História Em Quadrinhos,Mangá
NOTEBOOKS_AND_PADS|measure|Cuaderno,Libreta,Agenda|Caderno,Caderneta,Agenda
PENS|color|Lapicera,Bolígrafo,Set De Marcadores|Caneta,Caneta Esferográfica,Kit Canetinhas
WINES|volume|Vino Tinto,Vino Malbec,Espumante|Vinho Tinto,Vinho Malbec,Espumante
COFFEES|weight|Café Molido,Café En Grano,Cápsulas De Café|Café Moído,Café Em Grãos,Cápsulas De Café
KITCHEN_KNIVES|measure|Cuchillo,Set De Cuchillos,Cuchilla|Faca,Kit Facas,Faca Do Chef
POTS|volume|Olla,Cacerola,Batería De Cocina|Panela,Caçarola,Jogo De Panelas
DRINK_PITCHERS|volume|Jarra,Ánfora,Botellón|Jarra,Garrafa,Botelha
TENNIS_RACQUETS|weight,color|Raqueta Tenis,Raqueta|Raquete De Tênis,Raquete
VITAMINS|pieces|Vitamina C,Multivitamínico,Colágeno|Vitamina C,Polivitamínico,Colágeno
SUPPLEMENTS|weight|Proteína,Creatina,Whey|Proteína,Creatina,Whey Protein
"""

# Brands by kind of feature.
BRANDS = """
tech,screen,memory,game|Samsung,Motorola,Philips,Sony,Xiaomi,Lg,Noblex,Hp,Lenovo,Multilaser,Logitech,Redragon,Jbl,Kingston
color|Genérico,Importado,Tramontina,Casio,Wilson,Pampa,Andina,Ipanema,Mercosur,Patagonia,Acme,Norte,Guaraní,Fisher-Price
size|Nike,Adidas,Puma,Fila,Topper,Penalty,Olympikus,Montagne,Lacoste,Hering,Zara,Genérico,Importado
power|Philips,Black+Decker,Bosch,Makita,Stanley,Oster,Electrolux,Arno,Mondial,Britânia,Atma,Liliana,Drean,Brastemp
car|Ford,Fiat,Chevrolet,Volkswagen,Renault,Peugeot,Toyota,Honda,Monroe,Bosch,Cofap,Pioneer
measure,volume,weight,pieces,book|Genérico,Tramontina,Royal-Canin,Pedigree,Mattel,Acme,Norte,Andina,Nestlé,Shimano,Estrela
"""

# Features by kind: what is the same in both languages stands alone, else Spanish~Portuguese.
FEATURES = """
tech|Bluetooth|Usb|Wifi|Inalámbrico~Sem Fio|Original|Universal|Hd|4k|Compatible~Compatível|Recargable~Recarregável
color|Negro~Preto|Blanco~Branco|Rojo~Vermelho|Azul|Verde|Rosa|Gris~Cinza|Dorado~Dourado|Celeste~Azul Claro
screen|32"|40"|43"|50"|55"|24 Pulgadas~24 Polegadas|Full Hd|4k Uhd|Curvo|Led
memory|4gb|8gb|16gb|32gb|64gb|128gb|256gb|500gb|1tb|I5|I7|Ssd
game|Ps4|Xbox One|Nintendo Switch|Ps3|Pc|Usado|Sellado~Lacrado
size|Talle M~Tamanho M|Talle L~Tamanho G|Talle 42~Número 42|Hombre~Masculino|Mujer~Feminino|Niño~Infantil|Xl
volume|100ml|50 Ml|1 Litro|2l|5 Litros|750cc~750ml|20l
power|220v|110v|600w|1200w|2000 W|Profesional~Profissional|Inverter|Bivolt
measure|1 Plaza~Solteiro|2 Plazas~Casal|Queen|King|1,50 X 2,00|90x190|Rodado 29~Aro 29|20 Cm
car|Gol|Corsa|Palio|Clio|Fiesta|Hilux|Ranger|Uno|2008/2015|Delantero~Dianteiro|Trasero~Traseiro
weight|1kg|2 Kg|5kg|10 Kg|500g|15kg|Par|X2
pieces|100 Piezas~100 Peças|500 Piezas~500 Peças|X 60|1000 Pcs|Didáctico~Didático|3d
book|Tapa Dura~Capa Dura|Edición Especial~Edição Especial|Tomo 1~Volume 1|Colección~Coleção|Español~Português
"""
EXTRAS = (
    "Envío Gratis~Frete Grátis|Oferta~Promoção|Nuevo~Novo|Oportunidad~Oportunidade|12 Cuotas~12x Sem Juros|Única"
    "|Promo!!|Garantía~Garantia|Stock~Pronta Entrega|¡Oferta!~Oferta!|Local A La Calle~Loja Física|C/envío~C/frete|-|✅"
    "|(Usado)|+ Regalo~+ Brinde|🔥|100% Original|P/ Regalo~P/ Presente|Mod. 2019"
)
UNACCENTED = str.maketrans("áéíóúñçãõâêôàüÁÉÍÓÚÑÇÃÕÂÊÔÀÜ", "aeiouncaoaeoauAEIOUNCAOAEOAU")

# What no job can read, by the reason to reject it.
HOSTILE = {
    "too_few_fields": [b"Mesa Ratona,reliable,spanish\n", b"Mesa\n"],
    "too_many_fields": [b"Mesa, Silla Y Banco,reliable,spanish,SOFAS\n"],
    "empty_line": [b"\n"],
    "bad_quoting": [b'"Tv 32" Led",reliable,spanish,TELEVISIONS\n'],
    "bad_encoding": [b"Sof\xe1 Cama,unreliable,spanish,SOFAS\n"],
    "nul_byte": [b"Sofa\0Cama,unreliable,spanish,SOFAS\n"],
    "line_too_long": [b"Sofa " * 20_000 + b",unreliable,spanish,SOFAS\n"],
    "no_category": [b"Sofa Cama,unreliable,spanish,\n"],
}
# At the end of the file: what is never closed is not closed by a quote of the next row either.
UNCLOSED = {"unclosed_quote": [b'"Tv Led,reliable,spanish,TELEVISIONS\n']}


class _Words:
    """The lists, parsed: one entry a category, and in it one a language."""

    def __init__(self) -> None:
        features: dict[str, list] = {}
        brands: dict[str, list] = {}
        for line in FEATURES.split("\n")[1:-1]:
            kind, *texts = line.split("|")
            features[kind] = [_by_language(text) for text in texts]
        for line in BRANDS.split("\n")[1:-1]:
            kinds, names = line.split("|")
            brands |= dict.fromkeys(kinds.split(","), names.split(","))
        self.extras = [_by_language(text) for text in EXTRAS.split("|")]
        self.categories: list[str] = []
        self.nouns: list[tuple[list[str], list[str]]] = []
        self.features: list[list[tuple[str, str]]] = []
        self.brands: list[list[str]] = []
        for line in CATEGORIES.split("\n")[1:-1]:
            name, kinds, spanish, portuguese = line.split("|")
            self.categories.append(name)
            self.nouns.append((spanish.split(","), portuguese.split(",")))
            self.features.append([text for kind in kinds.split(",") for text in features[kind]])
            # the same brands, each category with others in front
            listed, first = brands[kinds.split(",")[0]], len(self.categories) * 5
            self.brands.append([listed[(first + i) % len(listed)] for i in range(len(listed))])
        sizes = np.arange(1, len(self.categories) + 1) ** -EXPONENT
        self.shares = np.cumsum(sizes / sizes.sum())


def _by_language(text: str) -> tuple[str, str]:
    spanish, _, portuguese = text.partition("~")
    return spanish, portuguese or spanish


def _pick(texts: Sequence, chance: float) -> Any:
    """Return one of the texts; the first are drawn more often, as words are."""
    return texts[int(chance * chance * len(texts))]


def _title(words: _Words, category: int, language: int, chances: Sequence[float]) -> str:
    """Return a made-up title of a category; `chances` are 18 numbers from 0 to 1."""
    parts = [_pick(words.nouns[category][language], chances[0])]
    if chances[1] < 0.7:
        parts.append(_pick(words.brands[category], chances[2]).replace("-", " " if chances[3] < 0.8 else "-"))
    if chances[4] < 0.55:
        parts.append(_code(chances[5]))
    for place in (6, 7, 8):
        if chances[place] < (0.9, 0.6, 0.3)[place - 6]:
            feature = _pick(words.features[category], chances[place + 3])[language]
            if feature not in parts:
                parts.append(feature)
    if chances[12] < 0.3:
        parts.append(_pick(words.extras, chances[13])[language])
    text = "  ".join(parts) if chances[14] < 0.08 else ("-" if chances[14] > 0.99 else " ").join(parts)
    if chances[15] < 0.4:
        text = text.translate(UNACCENTED)
    if chances[16] < 0.08:
        text = f" {text}" if chances[16] < 0.03 else f"{text} "
    if chances[17] < 0.1:
        text = text.replace(" ", ", ", 1) if chances[17] < 0.06 else f"{text}." if chances[17] < 0.097 else f"{text}\n"
    return text


def _code(chance: float) -> str:
    """Return the number of a model: a few letters and digits that few others have."""
    number = int(chance * 26 * 26 * 9000)
    return f"{chr(65 + number % 26)}{chr(97 + number // 26 % 26)}{1000 + number // 676}"


def _nearly(title: str, chance: float) -> str:
    """Return a title with the same words: in other case, without accents, turned round, or with other marks."""
    words = title.split()
    turned = " ".join([*words[1:], words[0]])
    ways = (
        title.upper(),
        title.lower(),
        title.translate(UNACCENTED),
        turned,
        f"{title}!",
        f"* {title}",
        " ".join(words),
    )
    return ways[int(chance * len(ways))]


def _block(words: _Words, number: int, count: int, seed: int, counts: Counter[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one block; copies are of rows of the same block."""
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    chances = rng.random((count, 24))
    categories = np.searchsorted(words.shares[:-1], chances[:, 18], side="right").tolist()
    earlier: list[tuple[str, ...]] = []
    for category, drawn in zip(categories, chances.tolist(), strict=True):
        language = int(drawn[19] < 0.5)
        copied, which, trust, wrong = drawn[20:24]
        name = words.categories[category]
        if copied < COPIES + NEAR_COPIES + CONFLICTS and earlier:
            title, quality, spoken, name = earlier[int(which * len(earlier))]
            if copied < COPIES:
                counts["copies"] += 1
            elif copied < COPIES + NEAR_COPIES:
                counts["near_copies"] += 1
                title = _nearly(title, trust)
            else:
                counts["conflicts"] += 1
                name = words.categories[(words.categories.index(name) + 1) % len(words.categories)]
            row = (title, quality, spoken, name)
        else:
            quality = "reliable" if trust < RELIABLE else "unreliable"
            if trust >= RELIABLE and wrong < WRONG_LABELS:
                name = words.categories[int(wrong / WRONG_LABELS * len(words.categories))]
            row = (_title(words, category, language, drawn), quality, LANGUAGES[language], name)
        earlier.append(row)
        yield row


def sample_titles(path: str, *, rows: int = 200_000, seed: int = 2019, hostile: bool = False) -> dict[str, Any]:
    """Write a made-up file of `rows` titles; return what it holds.

    The bytes depend only on `rows`, `seed` and `hostile`. The file appears under its name when it is complete. Takes
    about 10 seconds for each million rows.

    Args:
      hostile: also write rows that a job has to reject, in the middle of the file and at its end.

    Returns:
      rows: without header and hostile rows.
      copies, near_copies, conflicts: rows that repeat a title with its category, nearly, and with another category.
      hostile: rows to be rejected, by reason.
      files: names of the files written.
    """
    if rows < 0:
        raise ValueError(f"rows={rows} must be 0 or more")
    words, counts, rejects, target = _Words(), Counter[str](), Counter[str](), Path(path)
    blocks = -(-rows // BLOCK_ROWS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with storage.published([target]) as [part], part.open("wb") as out:
        out.write(f"{','.join(HEADER)}\n".encode())
        for number in range(blocks):
            text = io.StringIO()
            count = min(BLOCK_ROWS, rows - number * BLOCK_ROWS)
            csv.writer(text, lineterminator="\n").writerows(_block(words, number, count, seed, counts))
            out.write(text.getvalue().encode())
            if hostile and number == blocks // 2:
                _write_hostile(out, HOSTILE, rejects)
        if hostile:
            _write_hostile(out, HOSTILE | UNCLOSED, rejects)
    return {
        "rows": rows,
        **{name: counts[name] for name in ("copies", "near_copies", "conflicts")},
        "hostile": dict(rejects),
        "files": [str(target)],
    }


def _write_hostile(out: BinaryIO, hostile: dict[str, list[bytes]], rejects: Counter[str]) -> None:
    for reason, lines in hostile.items():
        out.writelines(lines)
        rejects[reason] += len(lines)
