# ruff: noqa: E501
"""Web pages in the forms of real sites, for each of which is known what is main text and what is menu."""

import html
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

# Sentences of main text, then words of menus: home, news, contact, privacy, read more, share, search, cookies.
LANGUAGES: dict[str, tuple[list[str], list[str]]] = {
    "th": (
        [
            "ชาวบ้านริมแม่น้ำช่วยกันสร้างสะพานไม้แห่งใหม่เมื่อเดือนก่อน หลังจากสะพานเดิมถูกน้ำพัดพังไป",
            "ครูใหญ่เล่าว่านักเรียนเดินไปโรงเรียนได้สะดวกขึ้นและไม่ต้องลุยน้ำอีก",
            "ช่างไม้สามคนใช้เวลาทำงานสิบสองวัน",
            "ตลาดเช้ากลับมาคึกคักเพราะชาวสวนขนผลไม้ข้ามฝั่งมาขายได้",
            "ปีหน้าหมู่บ้านจะปลูกต้นไม้ตามแนวตลิ่งเพื่อกันดินพัง",
        ],
        ["หน้าแรก", "ข่าวล่าสุด", "ติดต่อเรา", "นโยบายความเป็นส่วนตัว", "อ่านเพิ่มเติม", "แชร์บทความ", "ค้นหา", "เว็บไซต์นี้ใช้คุกกี้"],
    ),
    "km": (
        [
            "អ្នកភូមិនៅមាត់ទន្លេបានសាងសង់ស្ពានឈើថ្មីមួយកាលពីខែមុន បន្ទាប់ពីស្ពានចាស់ត្រូវទឹកបោកបាក់។",
            "នាយកសាលានិយាយថា សិស្សអាចដើរទៅរៀនបានស្រួលជាងមុន ហើយមិនបាច់លុយទឹកទៀតទេ។",
            "ជាងឈើបីនាក់ធ្វើការអស់ដប់ពីរថ្ងៃ។",
            "ផ្សារពេលព្រឹកមានមនុស្សច្រើនឡើងវិញ ព្រោះអ្នកស្រែអាចដឹកផ្លែឈើឆ្លងទន្លេមកលក់។",
            "ឆ្នាំក្រោយ ភូមិនឹងដាំដើមឈើតាមច្រាំងដើម្បីការពារដី។",
        ],
        ["ទំព័រដើម", "ព័ត៌មានថ្មី", "ទំនាក់ទំនងយើង", "គោលការណ៍ឯកជនភាព", "អានបន្ត", "ចែករំលែក", "ស្វែងរក", "គេហទំព័រនេះប្រើខូគី"],
    ),
    "lo": (
        [
            "ຊາວບ້ານແຄມແມ່ນ້ຳຊ່ວຍກັນສ້າງຂົວໄມ້ແຫ່ງໃໝ່ເມື່ອເດືອນກ່ອນ ຫຼັງຈາກຂົວເກົ່າຖືກນ້ຳພັດພັງ",
            "ຄູໃຫຍ່ເລົ່າວ່ານັກຮຽນຍ່າງໄປໂຮງຮຽນໄດ້ສະດວກຂຶ້ນ ແລະບໍ່ຕ້ອງລຸຍນ້ຳອີກ",
            "ຊ່າງໄມ້ສາມຄົນເຮັດວຽກສິບສອງມື້",
            "ຕະຫຼາດເຊົ້າມີຄົນຫຼາຍຂຶ້ນ ເພາະຊາວສວນຂົນໝາກໄມ້ຂ້າມຟາກມາຂາຍໄດ້",
            "ປີໜ້າບ້ານຈະປູກຕົ້ນໄມ້ຕາມແຄມຝັ່ງເພື່ອປ້ອງກັນດິນເຈື່ອນ",
        ],
        ["ໜ້າຫຼັກ", "ຂ່າວຫຼ້າສຸດ", "ຕິດຕໍ່ພວກເຮົາ", "ນະໂຍບາຍຄວາມເປັນສ່ວນຕົວ", "ອ່ານຕໍ່", "ແບ່ງປັນ", "ຄົ້ນຫາ", "ເວັບໄຊນີ້ໃຊ້ຄຸກກີ້"],
    ),
    "my": (
        [
            "မြစ်ကမ်းဘေးရွာသားများသည် ပြီးခဲ့သောလက သစ်သားတံတားအသစ်ကို ဆောက်လုပ်ခဲ့ကြသည်။",
            "ကျောင်းအုပ်ကြီးက ကလေးများ ကျောင်းသို့ အလွယ်တကူ လမ်းလျှောက်သွားနိုင်ပြီဟု ပြောသည်။",
            "လက်သမားသုံးဦးသည် ဆယ့်နှစ်ရက် အလုပ်လုပ်ခဲ့သည်။",
            "နံနက်ဈေးသည် လယ်သမားများ သစ်သီးများ သယ်ဆောင်ရောင်းချနိုင်သဖြင့် ပြန်စည်ကားလာသည်။",
            "လာမည့်နှစ်တွင် မြေမပြိုစေရန် ကမ်းတစ်လျှောက် သစ်ပင်များ စိုက်ပျိုးမည်။",
        ],
        ["ပင်မစာမျက်နှာ", "သတင်းများ", "ဆက်သွယ်ရန်", "ကိုယ်ရေးမူဝါဒ", "ဆက်ဖတ်ရန်", "မျှဝေပါ", "ရှာဖွေရန်", "ဤဝဘ်ဆိုက်သည် ကွတ်ကီးများသုံးသည်"],
    ),
    "zh": (
        [
            "河边的村民上个月修建了一座新的木桥，因为旧桥被洪水冲走了。",
            "校长说孩子们现在可以干着脚走到学校，不必再蹚水过河。",
            "三名木匠一共工作了十二天。",
            "果农又能把水果运到对岸去卖，早市重新热闹起来。",
            "明年村里打算沿着河岸种树，防止泥土流失。",
        ],
        ["首页", "最新消息", "联系我们", "隐私政策", "阅读全文", "分享本文", "搜索", "本网站使用饼干"],
    ),
    "zh-hant": (
        [
            "河邊的村民上個月修建了一座新的木橋，因為舊橋被洪水沖走了。",
            "校長說孩子們現在可以乾著腳走到學校，不必再涉水過河。",
            "三名木匠一共工作了十二天。",
            "果農又能把水果運到對岸去賣，早市重新熱鬧起來。",
            "明年村裡打算沿著河岸種樹，防止泥土流失。",
        ],
        ["首頁", "最新消息", "聯絡我們", "隱私權政策", "閱讀全文", "分享本文", "搜尋", "本網站使用餅乾"],
    ),
    "ja": (
        [
            "川沿いの村では先月、流された古い橋の代わりに新しい木の橋を架けた。",
            "校長先生によると、子どもたちは足をぬらさずに学校へ通えるようになった。",
            "大工が三人で十二日間働いた。",
            "農家が果物を対岸へ運べるようになり、朝市に再びにぎわいが戻った。",
            "来年は土が流れないように川岸に木を植える予定である。",
        ],
        ["ホーム", "最新ニュース", "お問い合わせ", "個人情報の扱い", "続きを読む", "共有する", "検索", "クッキーを使用しています"],
    ),
    "ko": (
        [
            "강가 마을 주민들은 지난달 떠내려간 옛 다리 대신 새 나무 다리를 놓았다.",
            "교장은 아이들이 이제 발을 적시지 않고 학교에 갈 수 있다고 말했다.",
            "목수 세 명이 열이틀 동안 일했다.",
            "농부들이 과일을 건너편에 팔 수 있게 되어 아침 시장이 다시 붐빈다.",
            "내년에는 흙이 쓸려 가지 않도록 강둑에 나무를 심을 예정이다.",
        ],
        ["처음으로", "최신 소식", "문의하기", "개인정보 처리방침", "더 읽기", "공유하기", "검색창", "쿠키를 사용합니다"],
    ),
    "vi": (
        [
            "Dân làng bên sông đã dựng một cây cầu gỗ mới vào tháng trước, sau khi cầu cũ bị nước cuốn đi.",
            "Thầy hiệu trưởng kể rằng học sinh nay đi bộ tới trường dễ dàng, không phải lội nước nữa.",
            "Ba người thợ mộc làm việc suốt mười hai ngày.",
            "Chợ sáng đông vui trở lại vì nhà vườn chở được trái cây sang bờ bên kia để bán.",
            "Sang năm làng sẽ trồng cây dọc theo bờ để giữ đất khỏi sạt lở.",
        ],
        ["Trang chủ", "Tin mới nhất", "Liên hệ", "Chính sách riêng tư", "Đọc thêm", "Chia sẻ bài viết", "Tìm kiếm", "Trang này dùng cookie"],
    ),
    "id": (
        [
            "Warga desa di tepi sungai membangun jembatan kayu baru bulan lalu setelah jembatan lama hanyut.",
            "Kepala sekolah bercerita bahwa anak-anak kini berjalan ke sekolah tanpa harus menyeberangi air.",
            "Tiga tukang kayu bekerja selama dua belas hari.",
            "Pasar pagi ramai lagi karena petani dapat membawa buah ke seberang untuk dijual.",
            "Tahun depan desa akan menanam pohon di sepanjang tepian agar tanah tidak longsor.",
        ],
        ["Beranda", "Berita terbaru", "Hubungi kami", "Kebijakan privasi", "Baca selengkapnya", "Bagikan artikel", "Pencarian", "Situs ini memakai kuki"],
    ),
    "fr": (
        [
            "Les villageois ont bâti le mois dernier un pont de bois – l’ancien avait été emporté par la crue.",
            "Le maître d’école raconte que les élèves vont désormais à pied, sans se mouiller.",
            "Trois charpentiers ont travaillé douze journées entières.",
            "Le marché du matin s’anime à nouveau, car les fruits passent d’une rive à l’autre.",
            "L’année prochaine, on plantera des arbres le long des berges pour retenir la terre.",
        ],
        ["Accueil", "Dernières nouvelles", "Nous écrire", "Vie privée", "Lire la suite", "Partager l’article", "Rechercher", "Ce site utilise des témoins"],
    ),
    "en": (
        [
            "The village by the river built a new wooden bridge last month, after the old one was carried away.",
            "The headmaster says that children now walk to school with dry feet and need not wade.",
            "Three carpenters worked for twelve days.",
            "The morning market is busy again, since farmers can bring their fruit across to sell it.",
            "Next year the village will plant trees along the banks so that the soil stays.",
        ],
        ["Home page", "Latest news", "Contact us", "Privacy policy", "Read more", "Share this article", "Search", "This site uses cookies"],
    ),
}  # fmt: skip


class Page(NamedTuple):
    html: str
    main: list[str]  # each stands on a line of its own, or is a cell of one, in this order
    menus: list[str]  # none of them may come out


class Words:
    """Escaped text of one language: sentences, each with a number that makes it the only one, and words of menus."""

    def __init__(self, language: str) -> None:
        self.sentences, self.words = LANGUAGES[language]
        self.main: list[str] = []
        self.menus: list[str] = []

    def text(self, *numbers: int) -> str:
        """A block of main text of those sentences."""
        mark = f"({len(self.main) + 1}) "
        block = mark + " ".join(self.sentences[number % len(self.sentences)] for number in numbers)
        self.main.append(block)
        return html.escape(block, quote=False)

    def linked(self, *numbers: int) -> str:
        """As `text`, a third of it behind a link."""
        block = self.text(*numbers)
        cut = len(block) // 3
        return f'<a href="/wiki/x">{block[:cut]}</a>{block[cut:]}'

    def menu(self, number: int) -> str:
        self.menus.append(self.words[number])
        return html.escape(self.words[number], quote=False)

    def links(self, *numbers: int, start: str = "<li>", end: str = "</li>") -> str:
        return "".join(f'{start}<a href="/{n}">{self.menu(n)}</a>{end}' for n in numbers)


def news(w: Words) -> str:
    return f"""<header class="site-header"><a class="logo" href="/">{w.menu(0)}</a>
<nav class="main-navigation"><ul class="menu">{w.links(0, 1, 2)}</ul></nav>
<form class="search-form"><input type="text" placeholder="{w.words[6]}"><button>{w.menu(6)}</button></form></header>
<div id="cookie-notice" class="cookie-consent" role="dialog"><p>{w.menu(7)}</p><button>OK</button></div>
<main id="main"><article class="article"><h1 class="article__title">{w.text(2)}</h1>
<div class="article__body"><p class="lead"><strong>{w.text(0)}</strong></p><p>{w.text(1, 3)}</p>
<h2>{w.text(2)}</h2><p>{w.text(3, 4)}</p><ul><li>{w.text(2)}</li><li>{w.text(4)}</li></ul><p>{w.text(0, 1)}</p></div>
<div class="social-share"><a href="#">{w.menu(5)}</a></div></article>
<aside class="sidebar"><h3>{w.menu(1)}</h3><ul>{w.links(1, 4)}</ul></aside>
<section class="related-articles"><h3>{w.menu(4)}</h3><ul>{w.links(4, 1)}</ul></section></main>
<footer class="site-footer"><ul>{w.links(2, 3)}</ul><p>&copy; 2024</p></footer>"""


def wordpress(w: Words) -> str:
    return f"""<div id="page" class="site"><a class="skip-link screen-reader-text" href="#content">{w.menu(0)}</a>
<header id="masthead" class="site-header"><nav id="site-navigation" class="main-navigation"><div class="menu-main-container">
<ul id="primary-menu" class="menu">{w.links(0, 1, 2, start='<li class="menu-item">')}</ul></div></nav></header>
<div id="content" class="site-content"><div id="primary" class="content-area"><main id="main" class="site-main">
<article id="post-12" class="post-12 post type-post status-publish hentry"><header class="entry-header">
<h1 class="entry-title">{w.text(0)}</h1></header><div class="entry-content"><p>{w.text(1, 2)}</p>
<blockquote class="wp-block-quote"><p>{w.text(3)}</p></blockquote><p>{w.text(4, 0)}</p>
<ol><li>{w.text(2)}</li><li>{w.text(3)}</li></ol><p>{w.text(1)}<br>{w.text(4)}</p>
<div class="sharedaddy sd-sharing-enabled"><h3 class="sd-title">{w.menu(5)}</h3><ul>{w.links(5)}</ul></div></div></article>
<nav class="navigation post-navigation"><div class="nav-links">{w.links(4, start="<div>", end="</div>")}</div></nav></main></div>
<aside id="secondary" class="widget-area"><section class="widget widget_recent_entries"><h2 class="widget-title">{w.menu(1)}</h2>
<ul>{w.links(1, 4)}</ul></section></aside></div>
<footer id="colophon" class="site-footer"><div class="site-info">{w.links(3, start="", end="")}</div></footer></div>"""


def mediawiki(w: Words) -> str:
    return f"""<div id="mw-page-base" class="noprint"></div><div id="content" class="mw-body" role="main">
<h1 id="firstHeading" class="firstHeading">{w.text(2)}</h1><div id="bodyContent" class="vector-body">
<div id="siteSub" class="noprint">{w.menu(0)}</div><div id="jump-to-nav"></div><a class="mw-jump-link" href="#mw-head">{w.menu(6)}</a>
<div id="mw-content-text" class="mw-body-content"><div class="mw-parser-output"><p>{w.linked(0, 1)}<sup class="reference"></sup></p>
<div id="toc" class="toc" role="navigation"><ul><li><a href="#a">{w.menu(1)}</a></li><li><a href="#b">{w.menu(4)}</a></li></ul></div>
<h2><span class="mw-headline" id="a">{w.text(2)}</span></h2><p>{w.linked(3)}</p><ul><li>{w.linked(4)}</li><li>{w.linked(1)}</li></ul>
<table class="wikitable"><tbody><tr><th>{w.text(2)}</th><th>{w.text(4)}</th></tr><tr><td>{w.text(0)}</td><td>{w.text(3)}</td></tr></tbody></table>
<dl><dt>{w.text(2)}</dt><dd>{w.text(1)}</dd></dl><p>{w.text(4, 3)}</p></div></div></div></div>
<div id="mw-navigation"><div id="mw-panel"><nav id="p-navigation" class="vector-menu mw-portlet" role="navigation"><ul>{w.links(0, 1, 2)}</ul></nav></div></div>
<footer id="footer" class="mw-footer" role="contentinfo"><ul id="footer-places">{w.links(3)}</ul></footer>"""


def forum(w: Words) -> str:
    title = w.text(2)
    posts = "".join(
        f"""<div id="p{n}" class="post has-profile"><div class="inner"><dl class="postprofile"><dt><a href="/u">{w.menu(2)}</a></dt></dl>
<div class="postbody"><div class="content">{w.text(n, n + 1)}<br />{w.text(n + 2)}</div></div></div></div>"""
        for n in range(4)
    )
    return f"""<div id="wrap" class="wrap"><div id="page-header"><div class="navbar" role="navigation"><ul id="nav-main" class="nav-main linklist">
{w.links(0, 1, 6)}</ul></div></div><div id="page-body" class="page-body" role="main"><h2 class="topic-title"><a href="/t">{title}</a></h2>
<div class="action-bar bar-top"><div class="pagination"><ul>{w.links(4)}</ul></div></div>{posts}
<div class="action-bar actions-jump"><p class="jumpbox-return">{w.links(1, start="", end="")}</p></div></div>
<div id="page-footer" class="page-footer" role="contentinfo"><div class="navbar"><ul id="nav-footer" class="nav-footer linklist">{w.links(0, 3)}</ul></div></div></div>"""


def tables(w: Words) -> str:
    """A page of an office, laid out by tables."""
    return f"""<table width="980" border="0" cellspacing="0" align="center"><tr><td colspan="2" class="header"><table><tr>
{w.links(0, 1, 2, start="<td>", end="</td>")}</tr></table></td></tr>
<tr><td width="180" valign="top" class="leftmenu"><table>{w.links(1, 3, 4, start="<tr><td>", end="</td></tr>")}</table></td>
<td valign="top"><table width="100%"><tr><td><b>{w.text(2)}</b></td></tr><tr><td><p>{w.text(0, 1)}</p><p>{w.text(3)}</p></td></tr>
<tr><td><table border="1"><tr><td>{w.text(2)}</td><td>{w.text(4)}</td></tr><tr><td>{w.text(1)}</td><td>{w.text(3)}</td></tr></table></td></tr>
<tr><td>{w.text(4, 0)}</td></tr></table></td></tr>
<tr><td colspan="2" class="footer">{w.links(2, 3, start="", end=" | ")}</td></tr></table>"""


def fonts(w: Words) -> str:
    """An old page without classes, in capitals."""
    return f"""<CENTER><FONT SIZE="+2" COLOR="#990000"><B>{w.text(2)}</B></FONT></CENTER><HR>
<FONT FACE="Tahoma" SIZE=2>{w.text(0, 1)}<BR><BR>{w.text(3)}<P>{w.text(4)}<P>{w.text(1, 2)}<UL><LI>{w.text(2)}<LI>{w.text(4)}</UL>
{w.text(0, 3)}</FONT><HR><CENTER>{w.links(0, 2, 3, start="[", end="] ")}</CENTER>"""


def amp(w: Words) -> str:
    return f"""<header class="amp-header"><a href="/" class="logo">{w.menu(0)}</a></header>
<amp-sidebar id="sidebar" layout="nodisplay" hidden><ul>{w.links(0, 1, 2)}</ul></amp-sidebar>
<article class="amp-wp-article"><header class="amp-wp-article-header"><h1 class="amp-wp-title">{w.text(0)}</h1></header>
<amp-img src="a.jpg" width="600" height="400" alt=""></amp-img><div class="amp-wp-article-content"><p>{w.text(1, 2)}</p><p>{w.text(3)}</p>
<p>{w.text(4, 0)}</p><h3>{w.text(2)}</h3><p>{w.text(1)}</p></div>
<footer class="amp-wp-article-footer"><div class="amp-wp-meta"><a href="/c">{w.menu(2)}</a></div></footer></article>
<amp-user-notification id="consent" layout="nodisplay"><p>{w.menu(7)}</p><button>OK</button></amp-user-notification>
<footer class="amp-wp-footer"><div><p><a href="/p">{w.menu(3)}</a></p></div></footer>"""


def sphinx(w: Words) -> str:
    return f"""<div class="related" role="navigation" aria-label="related navigation"><h3>{w.menu(1)}</h3><ul>{w.links(0, 4)}</ul></div>
<div class="document"><div class="documentwrapper"><div class="bodywrapper"><div class="body" role="main">
<section id="bridge"><h1>{w.text(2)}<a class="headerlink" href="#bridge">&para;</a></h1><p>{w.text(0, 1)}</p>
<div class="admonition note"><p class="admonition-title">{w.text(2)}</p><p>{w.text(3)}</p></div>
<ul class="simple"><li><p>{w.text(4)}</p></li><li><p>{w.text(2)}</p></li></ul>
<div class="highlight-python"><div class="highlight"><pre>print(1)</pre></div></div>
<dl class="simple"><dt>{w.text(2)}</dt><dd><p>{w.text(1)}</p></dd></dl><section id="more"><h2>{w.text(3)}</h2><p>{w.text(4, 0)}</p></section></section>
</div></div></div><div class="sphinxsidebar" role="navigation"><div class="sphinxsidebarwrapper"><h3>{w.menu(6)}</h3><ul>{w.links(1, 2)}</ul></div></div></div>
<div class="footer" role="contentinfo">{w.links(3, start="", end="")}</div>"""


def recipe(w: Words) -> str:
    return f"""<div class="header-wrap"><div class="navbar"><ul class="nav">{w.links(0, 1, 2)}</ul></div></div>
<ul class="breadcrumb">{w.links(0, 1)}</ul>
<div class="container"><div class="recipe"><h1 itemprop="name">{w.text(2)}</h1><p itemprop="description">{w.text(0, 1)}</p>
<h2>{w.text(3)}</h2><ul class="ingredients"><li itemprop="recipeIngredient">{w.text(2)}</li><li itemprop="recipeIngredient">{w.text(4)}</li></ul>
<ol class="steps"><li>{w.text(0)}</li><li>{w.text(1)}</li><li>{w.text(3)}</li></ol><p>{w.text(4, 3)}</p></div>
<div class="sidebar"><h4>{w.menu(1)}</h4><ul>{w.links(4, 5)}</ul></div></div>
<div class="modal popup"><p>{w.menu(7)}</p></div><div class="footer"><div class="copyright">{w.links(3, start="", end="")}</div></div>"""


def plain(w: Words) -> str:
    """A page of today without a word of structure in its classes: made by a builder of interfaces."""
    return f"""<div id="root"><div class="css-1x2"><div class="css-9ab">{w.links(0, 1, 2, start='<div class="css-77">', end="</div>")}</div></div>
<div class="css-3k"><div class="css-4p"><div class="css-5q"><h1 class="css-h">{w.text(2)}</h1><div class="css-p">{w.text(0, 1)}</div>
<div class="css-p">{w.text(3)}</div><div class="css-p">{w.text(4, 2)}</div><ul class="css-l"><li>{w.text(2)}</li><li>{w.text(1)}</li></ul>
<div class="css-p">{w.text(0)}</div></div></div></div>
<div class="css-ft">{w.links(2, 3, start="<div>", end="</div>")}</div></div>"""


FORMS: dict[str, Callable[[Words], str]] = {
    form.__name__: form
    for form in (news, wordpress, mediawiki, forum, tables, fonts, amp, sphinx, recipe, plain)
}


def page(form: str, language: str, head: str = "", title: str = "x") -> Page:
    """A page without its <head>'s charset, which stands in `head`."""
    words = Words(language)
    body = FORMS[form](words)
    script = "<script>var menu = ['a', 'b']; if (1 < 2) document.write('<p>written</p>')</script>"
    top = f"<head>{head}<title>{title}</title><style>p {{ color: red }}</style>{script}</head>"
    whole = (
        f"<html>{top}<body>{body}<!-- {words.words[0]} --><noscript>{words.words[2]}</noscript></body></html>"
    )
    return Page(whole, words.main, sorted(set(words.menus)))


class Declared(NamedTuple):
    """How a page says its encoding, and in which it is."""

    name: str
    languages: tuple[str, ...]
    header: str  # Content-Type; "" where there is none
    head: str  # within <head>
    codec: str
    before: str = "<!DOCTYPE html>"


META = '<meta http-equiv="Content-Type" content="text/html; charset={}">'
DECLARATIONS = [
    Declared("UTF-8 by header", ("th", "km", "lo", "my"), "text/html; charset=utf-8", "", "utf-8"),
    Declared("UTF-8 by meta", ("lo", "my", "km", "vi"), "Text/HTML", '<meta charset="UTF-8">', "utf-8"),
    Declared("UTF-8, said to be Latin", ("km", "th", "id", "zh"), "text/html; charset=ISO-8859-1", "", "utf-8"),
    Declared("Thai by header", ("th",), 'text/html; charset="TIS-620"', "", "cp874"),
    Declared("Thai by meta", ("th",), "text/html", META.format("windows-874"), "cp874"),
    Declared("Thai undeclared", ("th",), "text/html", "", "cp874"),
    Declared("Vietnamese", ("vi",), "text/html; Charset = windows-1258", "", "cp1258"),
    Declared("GBK said to be GB2312", ("zh",), "text/html", META.format("gb2312"), "gb18030"),
    Declared("Big5", ("zh-hant",), "", META.format("big5"), "big5"),
    Declared("Shift JIS by XML", ("ja",), "application/xhtml+xml", "", "shift_jis",
             '<?xml version="1.0" encoding="Shift_JIS"?>'),
    Declared("EUC-KR", ("ko",), "text/html;charset=euc-kr;", "", "cp949"),
    Declared("Latin 1 that is 1252", ("fr",), "text/html; charset=iso-8859-1", "", "cp1252"),
    Declared("UTF-16 with BOM", ("my", "zh", "en"), "text/html", "", "utf-16"),
]  # fmt: skip


def encoded(text: str, codec: str) -> bytes:
    """Bytes of a text. windows-1258 has letters with tones as two characters."""
    if codec != "cp1258":
        return text.encode(codec)
    return b"".join(_in_1258(character) for character in text)


def _in_1258(character: str) -> bytes:
    try:
        return character.encode("cp1258")
    except UnicodeEncodeError:
        base, *marks = unicodedata.normalize("NFD", character)
        tone = next(mark for mark in marks if mark in "\u0300\u0301\u0303\u0309\u0323")
        letter = unicodedata.normalize("NFC", base + "".join(mark for mark in marks if mark != tone))
        return letter.encode("cp1258") + tone.encode("cp1258")


def cases() -> list[tuple[str, Declared, Page, bytes]]:
    """40 pages: each form four times, the declarations in turn."""
    found = []
    for number in range(40):
        form = list(FORMS)[number % len(FORMS)]
        declared = DECLARATIONS[number % len(DECLARATIONS)]
        language = declared.languages[number // len(DECLARATIONS) % len(declared.languages)]
        made = page(form, language, declared.head)
        found.append((form, declared, made, encoded(declared.before + made.html, declared.codec)))
    return found
