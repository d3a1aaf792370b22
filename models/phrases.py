"""What reasons are said with, in English and Italian.

`{n}` is a number, `{n:order|orders}` a number with its noun, `{n:2}` money.
"""

MONTHS = {
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    "it": (
        "gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno",
        "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre",
    ),
}  # fmt: skip

CHANNELS: dict[str, tuple[str, str]] = {
    "unknown": ("unknown", "non noto"),
    "web": ("the website", "sito web"),
    "app": ("the app", "app"),
    "store": ("a store", "negozio"),
    "email": ("e-mail", "e-mail"),
    "paid_search": ("paid search", "annunci sui motori di ricerca"),
    "seo": ("unpaid search", "motori di ricerca"),
    "social": ("social media", "social"),
    "affiliate": ("affiliates", "affiliati"),
    "direct": ("a direct visit", "accesso diretto"),
}
"""What the contract's channels are called; a shop's own names stay as they are."""

PHRASES: dict[str, tuple[str, str]] = {
    "typical": (" (typical: {value}).", " (tipico: {value})."),
    "typical_money": (" (typical: {value:2}).", " (tipico: {value:2})."),
    "since": ("{now} On {date}: {then}.", "{now} Prima ({date}): {then}."),
    "rhythm_ago": (
        "Ordered every {gap:day|days}, silent for {silence}.",
        "Ordinava ogni {gap:giorno|giorni}, non ordina da {silence}.",
    ),
    "rhythm_within": (
        "Orders every {gap:day|days}, most recently {silence:day|days} ago.",
        "Ordina ogni {gap:giorno|giorni}, l'ultima volta {silence:giorno|giorni} fa.",
    ),
    "rhythm_today": (
        "Orders every {gap:day|days}, most recently {on}.",
        "Ordina ogni {gap:giorno|giorni}, l'ultima volta {on}.",
    ),
    "daily_ago": (
        "Ordered every day, silent for {silence:day|days}.",
        "Ordinava ogni giorno, non ordina da {silence:giorno|giorni}.",
    ),
    "daily_today": ("Orders every day, most recently {on}.", "Ordina ogni giorno, l'ultima volta {on}."),
    "once_ago": ("Ordered once, {silence:day|days} ago.", "Ha ordinato una volta sola, {silence:giorno|giorni} fa."),
    "once_today": ("Ordered once, {on}.", "Ha ordinato una volta sola, {on}."),
    "one_day_ago": (
        "Ordered on one day only, {silence:day|days} ago.",
        "Ha ordinato in un solo giorno, {silence:giorno|giorni} fa.",
    ),
    "one_day_today": ("Ordered on one day only, {on}.", "Ha ordinato in un solo giorno, {on}."),
    "orders": ("{orders:order|orders} so far", "{orders:ordine|ordini} finora"),
    "tenure": ("First order {days:day|days} ago", "Primo ordine {days:giorno|giorni} fa"),
    "tenure_today": ("First order {on}.", "Primo ordine {on}."),
    "recent": (
        "Ordered on {days:day|days} of the last {window}", "Ha ordinato in {days:giorno|giorni} degli ultimi {window}",
    ),
    "recent_none": ("No order in the last {window} days", "Nessun ordine negli ultimi {window} giorni"),
    "value": ("Average order {value:2}{currency}", "Valore medio dell'ordine: {value:2}{currency}"),
    "value_given_back": ("More was given back than paid.", "Più rimborsato che pagato."),
    "refunds": (
        "{refunds:refund|refunds}, {orders:order|orders} kept.",
        "{refunds:rimborso|rimborsi}, {orders:ordine non rimborsato|ordini non rimborsati} per intero.",
    ),
    "refunds_none": ("No refund so far.", "Nessun rimborso finora."),
    "visits": (
        "{visits:page|pages} viewed in the last 30 days.",
        "{visits:pagina vista|pagine viste} negli ultimi 30 giorni.",
    ),
    "visits_none": ("No visit in the last 30 days.", "Nessuna visita negli ultimi 30 giorni."),
    "sessions": ("{times:visit|visits} in the last 30 days", "{times:visita|visite} negli ultimi 30 giorni"),
    "carts": (
        "{products:product|products} put into the cart in the last 30 days.",
        "{products:prodotto aggiunto|prodotti aggiunti} al carrello negli ultimi 30 giorni.",
    ),
    "carts_none": (
        "Nothing put into the cart in the last 30 days.",
        "Nessun prodotto aggiunto al carrello negli ultimi 30 giorni.",
    ),
    "abandoned": (
        "Left a cart without ordering on {days:day|days} of the last 30.",
        "Ha lasciato il carrello senza ordinare in {days:giorno|giorni} degli ultimi 30.",
    ),
    "abandoned_none": (
        "No cart left without an order in the last 30 days.",
        "Nessun carrello lasciato senza ordine negli ultimi 30 giorni.",
    ),
    "unsubscribed": ("Has unsubscribed from e-mail.", "Ha annullato l'iscrizione alle e-mail."),
    "email": (
        "{sent:e-mail|e-mails} sent and {opened:open|opens} in the last 90 days.",
        "Negli ultimi 90 giorni {sent:e-mail inviata|e-mail inviate} e {opened:apertura|aperture}.",
    ),
    "email_none": ("No e-mail sent in the last 90 days.", "Nessuna e-mail inviata negli ultimi 90 giorni."),
    "ads": ("{clicks:ad|ads} clicked in the last 90 days.", "{clicks:clic|clic} su annunci negli ultimi 90 giorni."),
    "ads_none": ("No ad clicked in the last 90 days.", "Nessun clic su annunci negli ultimi 90 giorni."),
    "service": (
        "{tickets:support ticket|support tickets} in the last 90 days.",
        "{tickets:richiesta|richieste} di assistenza negli ultimi 90 giorni.",
    ),
    "service_none": (
        "No support ticket in the last 90 days.",
        "Nessuna richiesta di assistenza negli ultimi 90 giorni.",
    ),
    "rating": ("Latest review: {stars:star|stars}.", "Ultima recensione: {stars:stella|stelle}."),
    "advocacy": (
        "{acts:referral or good rating|referrals and good ratings} in the last 365 days.",
        "{acts:passaparola o giudizio positivo|tra passaparola e giudizi positivi} negli ultimi 365 giorni.",
    ),
    "advocacy_none": (
        "No referral or good rating in the last 365 days.",
        "Nessun passaparola né giudizio positivo negli ultimi 365 giorni.",
    ),
    "app_share": ("{percent}% of orders in the app.", "{percent}% degli ordini nell'app."),
    "store_share": ("{percent}% of orders in a store.", "{percent}% degli ordini in negozio."),
    "first_channel": ("First came by: {channel}.", "Primo contatto: {channel}."),
    "last_channel": ("Latest channel: {channel}.", "Ultimo contatto: {channel}."),
    "channel_unknown": ("Channel of contact unknown.", "Canale di contatto non noto."),
    "order_channel_unknown": ("Channel of orders unknown.", "Canale degli ordini non noto."),
    "discounts": ("{percent}% of orders with a discount.", "{percent}% degli ordini con uno sconto."),
    "discounts_none": ("No order with a discount.", "Nessun ordine con uno sconto."),
    "coupons": ("Coupons per order: {coupons:2}.", "Buoni sconto per ordine: {coupons:2}."),
    "coupons_none": ("No coupon redeemed.", "Nessun buono sconto usato."),
    "order_quantity": ("{number:item|items} an order", "{number:articolo|articoli} per ordine"),
    "order_quantity_unknown": ("Items per order unknown.", "Articoli per ordine non noti."),
    "order_categories": ("Ordered from {number:category|categories}", "Ha ordinato in {number:categoria|categorie}"),
    "order_categories_unknown": ("Categories of orders unknown.", "Categorie degli ordini non note."),
    "weekend_order_share": ("{percent}% of orders at the weekend.", "{percent}% degli ordini nel fine settimana."),
    "weekend_order_share_none": ("No order at the weekend.", "Nessun ordine nel fine settimana."),
    "evening_order_share": (
        "{percent}% of orders in the evening (18–24 UTC).",
        "{percent}% degli ordini di sera (18–24 UTC).",
    ),
    "evening_order_share_none": ("No order in the evening (18–24 UTC).", "Nessun ordine di sera (18–24 UTC)."),
    "time_unknown": ("Time of day of orders unknown.", "Ora degli ordini non nota."),
    "last_year": (
        "Ordered on {days:day|days} of the same weeks last year.",
        "Ha ordinato in {days:giorno|giorni} dello stesso periodo dell'anno scorso.",
    ),
    "last_year_none": ("No order in the same weeks last year.", "Nessun ordine nello stesso periodo dell'anno scorso."),
    "other": ("{text}: {value}.", "{text}: {value}."),
    "other_unknown": ("{text}: not known.", "{text}: non noto."),
    "shop_season": (
        "In past years the shop had {percent}% of its usual orders in the season that follows.",
        "Negli anni passati, nel periodo che segue, il negozio ha avuto il {percent}% degli ordini abituali.",
    ),
    "season": ("The time of year: {date}.", "Il periodo dell'anno: {date}."),
}  # fmt: skip
