"""Indonesian text of many kinds, written for these tests: what curation must leave alone."""

KINDS: dict[str, str] = {
    "story": """Pada suatu pagi, Sari berjalan ke tepi pantai sambil membawa keranjang kosong. Ayahnya belum pulang sejak semalam.
Ombak kecil datang dan pergi, dan burung camar terbang rendah di atas perahu-perahu yang ditambatkan.
"Kalau angin sudah berubah, dia pasti pulang," kata neneknya. Sari mengangguk, lalu duduk di atas pasir dan menunggu.
Menjelang siang, sebuah layar putih muncul di kejauhan. Sari berdiri, melambaikan tangan, dan berlari sekuat tenaga.""",
    "poem": """Di ujung dermaga
kutitipkan namamu pada angin

    laut menyimpan
    semua yang tak sempat kita katakan

malam turun perlahan
dan lampu-lampu kapal
    menjadi bintang yang lupa jalan pulang""",
    "pantun": """Pergi ke pasar membeli duku,
duku dibawa di dalam raga.
Rajin-rajinlah membaca buku,
supaya ilmu bertambah juga.

Anak nelayan pergi memancing,
dapat seekor ikan kakap.
Walau hidup serba penting,
jangan lupa bertutur ucap.""",
    "dialogue": """Budi: Selamat sore, Bu. Apakah toko ini masih buka?
Ibu Ratna: Masih, sampai jam enam. Mau cari apa?
Budi: Saya perlu tali tambang, kira-kira sepuluh meter.
Ibu Ratna: Yang besar atau yang kecil?
Budi: Yang kecil saja. Untuk mengikat perahu.
Ibu Ratna: Ini, dua puluh ribu.
Budi: Terima kasih, Bu.
Ibu Ratna: Sama-sama.""",
    "recipe": """Sayur Asem Segar

Bahan:
- 2 liter air
- 1 buah jagung manis, potong 4 bagian
- 100 gram kacang panjang
- 1 buah labu siam
- 3 sdm air asam jawa
- garam dan gula secukupnya

Cara membuat:
1. Rebus air sampai mendidih, masukkan jagung.
2. Masukkan labu siam dan kacang panjang, masak 10 menit.
3. Tambahkan air asam, garam, dan gula. Aduk rata.
4. Angkat dan sajikan selagi hangat.""",
    "subtitles": """Kamu dengar itu?
Dengar apa?
Suara di luar.
Mungkin hanya angin.
Tidak. Ada orang.
Tunggu di sini.
Jangan buka pintunya!
Siapa di sana?
Ini aku, Rahmat.
Kenapa datang malam-malam begini?
Ada yang harus kuceritakan.""",
    "maths": """Soal 1. Diketahui persamaan 2x + 3y = 12 dan x - y = 1. Tentukan nilai x dan y.

Penyelesaian:
x = y + 1
2(y + 1) + 3y = 12
5y + 2 = 12
5y = 10
y = 2
x = 3

Jadi, x = 3 dan y = 2.

Soal 2. Luas sebuah persegi panjang adalah 48 cm² dan panjangnya 8 cm. Berapa lebarnya?
L = p × l, jadi l = 48 : 8 = 6 cm.""",
    "table": """Jadwal kapal dari Pelabuhan Bira

Hari        Berangkat   Tiba     Tujuan       Harga
Senin       07.30       09.45    Pamatata     Rp 45.000
Selasa      08.00       10.15    Pamatata     Rp 45.000
Rabu        07.30       13.00    Jampea       Rp 90.000
Kamis       09.00       11.15    Pamatata     Rp 45.000
Sabtu       06.45       12.15    Jampea       Rp 95.000""",
    "markdown table": """| Kota | Provinsi | Penduduk | Luas |
|---|---|---|---|
| Makassar | Sulawesi Selatan | 1.423.877 | 199,3 km² |
| Parepare | Sulawesi Selatan | 151.454 | 99,3 km² |
| Palu | Sulawesi Tengah | 373.218 | 395,1 km² |
| Kendari | Sulawesi Tenggara | 345.107 | 270,1 km² |""",
    "questions": """T: Apa yang dimaksud dengan fotosintesis?
J: Proses pembuatan makanan oleh tumbuhan hijau dengan bantuan cahaya matahari.

T: Apa saja yang diperlukan?
J: Air, karbon dioksida, cahaya, dan klorofil.

T: Di mana proses itu terjadi?
J: Terutama di daun.""",
    "choices": """1. Ibu kota Provinsi Sulawesi Selatan adalah ...
   A. Manado
   B. Makassar
   C. Palu
   D. Kendari
   Jawaban: B

2. Alat musik kecapi dimainkan dengan cara ...
   A. ditiup
   B. dipukul
   C. dipetik
   D. digesek
   Jawaban: C""",
    "letter": """Makassar, 12 Maret 2024

Yth. Bapak Kepala Desa Bontobahari
di tempat

Dengan hormat,
Sehubungan dengan rencana perbaikan jalan menuju galangan, kami mohon kesediaan Bapak untuk hadir dalam rapat warga pada hari
Jumat, 15 Maret 2024, pukul 14.00 di balai desa.

Atas perhatian Bapak, kami ucapkan terima kasih.

Hormat kami,
Andi Rukman""",
    "news": """Sejumlah nelayan di pesisir selatan mengeluhkan naiknya harga bahan bakar sejak awal
bulan. Menurut mereka, biaya melaut
sekarang hampir dua kali lipat dari tahun lalu, sementara hasil tangkapan justru berkurang.
Kepala dinas setempat mengatakan pihaknya sedang mendata jumlah perahu yang berhak menerima
bantuan. "Kami berharap bantuan itu bisa
disalurkan sebelum musim timur," ujarnya pada Selasa siang.""",
    "law": """BAB II
KEANGGOTAAN

Pasal 4
(1) Anggota koperasi adalah warga desa yang telah berumur 17 (tujuh belas) tahun.
(2) Keanggotaan sebagaimana dimaksud pada ayat (1) dicatat dalam buku daftar anggota.
(3) Setiap anggota mempunyai hak suara yang sama.

Pasal 5
Keanggotaan berakhir apabila:
a. meninggal dunia;
b. mengundurkan diri; atau
c. diberhentikan oleh rapat anggota.""",
    "song": """Layar putih terkembang, pulanglah ke rumah
Angin selatan memanggil namamu

Hei, dayunglah, dayung bersama
Hei, dayunglah, jangan menyerah

Bulan tinggal separuh, bintang masih setia
Ibu menunggu di ambang pintu

Hei, dayunglah, dayung bersama
Hei, dayunglah, jangan menyerah

Pagi membawa kabar, ombak pun mereda
Kita sampai di tanah yang dirindu

Hei, dayunglah, dayung bersama
Hei, dayunglah, jangan menyerah""",
    "code": """Untuk menghitung rata-rata, kita dapat menulis fungsi sederhana dalam Python:

def rata_rata(nilai):
    if not nilai:
        return 0
    return sum(nilai) / len(nilai)

Fungsi di atas mengembalikan 0 jika daftarnya kosong. Untuk memakainya, panggil rata_rata([80, 90, 75]).""",
    "review": """Tempatnya bersih, pelayanannya ramah, tapi makanannya agak lama datang. Saya pesan
ikan bakar sama es kelapa muda.
Ikannya segar banget, sambalnya nendang! Harga masih masuk akal buat porsi segitu. Pasti balik lagi.""",
    "chat": """[08:12] Dewi: udah di mana?
[08:13] Anto: masih di jalan, macet parah
[08:13] Dewi: oke, aku tunggu di depan gerbang ya
[08:20] Anto: bentar lagi nyampe, sekitar 10 menit
[08:31] Dewi: aku pakai baju merah
[08:32] Anto: siap, udah kelihatan""",
    "advert": """Dijual cepat perahu kayu panjang 9 meter, buatan 2019, mesin 2 silinder masih
bagus. Surat lengkap. Harga 65 juta, bisa
nego. Lokasi di Bulukumba. Peminat serius silakan datang langsung setiap hari kerja setelah pukul empat sore.""",
    "proverbs": """Air beriak tanda tak dalam: orang yang banyak bicara biasanya kurang ilmunya.
Sedia payung sebelum hujan: bersiaplah sebelum terjadi sesuatu.
Bagai air di daun talas: orang yang pendiriannya tidak tetap.
Sekali merengkuh dayung, dua tiga pulau terlampaui: menyelesaikan beberapa hal dalam satu kali kerja.""",
    "science": """Angin muson barat bertiup dari benua Asia ke Australia antara bulan Oktober dan
April. Karena melewati lautan yang luas,
angin ini membawa banyak uap air sehingga sebagian besar wilayah Indonesia mengalami musim hujan. Sebaliknya, angin muson timur
bertiup dari Australia dan bersifat kering.""",
}
