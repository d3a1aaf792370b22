"""Events out of a real PostgreSQL; and what is said when it cannot be reached or asked, its password never."""

import socket
import sys
import time

import psycopg
import pytest

from features.__main__ import main
from features.errors import EventsError
from features.ingest import load_log
from features.mapping import ColumnMapping, read_mapping
from features.readers import read_batches, read_events
from features.table import instant
from features.warehouse import Query

pytest_plugins = ["postgres_fixtures"]

NOW_US = instant("2024-12-31")
PASSWORD = "p@ss/w:rd?#"
SPELLED = "p%40ss%2Fw%3Ard%3F%23"

TABLES = """
    CREATE TYPE kind AS ENUM ('purchase', 'refund', 'page_view');
    CREATE TABLE orders (
        id uuid, customer char(8), placed timestamptz, local timestamp, day date, kind kind, total numeric(30, 2),
        price money, items bigint, note text, tags text[]
    );
    INSERT INTO orders VALUES
        ('00000000-0000-0000-0000-0000000000ff', 'ann', '2024-01-05 18:05:00.123456+02', '2024-01-05 18:05',
         '2024-01-05', 'purchase', 12345678901.05, 1, 2, 'a', '{x}'),
        ('ffffffff-0000-4000-8000-000000000001', 'bob', '2024-02-05 00:00+00', '2024-02-05', '2024-02-05',
         'refund', 0.10, 1, 9007199254740993, null, null),
        (null, 'cleo', '2024-03-05 00:00+00', null, null, 'page_view', null, null, null, null, null);
    CREATE VIEW many AS SELECT 'c' || (n % 1000) AS customer_id, timestamp '2024-01-01' + n * interval '1 second' AS ts,
        (n % 100) / 100.0 AS amount FROM generate_series(1, 1000000) AS n;
    CREATE VIEW breaks AS SELECT 'ann' AS customer_id, date '2024-01-05' AS ts, 1 / (900000 - n) AS amount
        FROM generate_series(1, 1000000) AS n;
"""
COLUMNS = {"customer_id": "customer", "ts": "placed", "event": "kind", "amount": "total", "order_id": "id"}


@pytest.fixture(scope="module")
def folder(postgres_folder):
    """The socket's folder of a server with TABLES, which asks for the password."""
    with psycopg.connect(host=str(postgres_folder), user="ritorno", dbname="postgres", autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute(f"ALTER USER ritorno PASSWORD '{PASSWORD}'")
        (postgres_folder / "data/pg_hba.conf").write_text("local all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    return postgres_folder


@pytest.fixture(scope="module")
def ask(folder):
    """`ask(sql)`: the query on that server."""

    def query(sql, password=SPELLED, database="postgres"):
        return Query(sql, f"postgresql://ritorno:{password}@/{database}?host={folder}")

    return query


def said(query, mapping=None):
    """What is said of a query that cannot be read."""
    with pytest.raises(EventsError) as error:
        read_events(query, mapping)
    for secret in (PASSWORD, SPELLED):
        assert secret not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- rows


@pytest.mark.slow
def test_a_querys_rows_are_events(ask):
    frame = read_events(ask("SELECT * FROM orders ORDER BY customer"), ColumnMapping(COLUMNS))
    assert frame["customer_id"].tolist() == ["ann", "bob", "cleo"]  # CHAR(8) without its blanks
    assert frame["amount"].tolist()[:2] == ["12345678901.05", "0.10"]  # NUMERIC to the last digit
    assert frame["order_id"].tolist()[:2] == [
        "00000000-0000-0000-0000-0000000000ff", "ffffffff-0000-4000-8000-000000000001",
    ]  # fmt: skip
    assert frame["row"].tolist() == [1, 2, 3]
    assert frame.loc[2, ["amount", "order_id"]].isna().all()


@pytest.mark.slow
def test_a_querys_log_is_what_the_same_rows_in_a_file_make(ask, tmp_path):
    query = ask(
        "SELECT id AS order_id, customer AS customer_id, placed AS ts, kind AS event, total AS amount FROM orders"
    )
    (tmp_path / "orders.csv").write_text(
        "order_id,customer_id,ts,event,amount\n"
        "00000000-0000-0000-0000-0000000000ff,ann,2024-01-05T16:05:00.123456Z,purchase,12345678901.05\n"
        "ffffffff-0000-4000-8000-000000000001,bob,2024-02-05T00:00:00Z,refund,0.10\n"
        ",cleo,2024-03-05T00:00:00Z,page_view,\n"
    )
    log, checkup = load_log(query, NOW_US)
    assert checkup.quarantine.empty
    assert log.fingerprint == load_log(tmp_path / "orders.csv", NOW_US)[0].fingerprint
    assert log.column("amount").tolist() == [1_234_567_890_105, -10, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "zone", "ts"),
    [
        ("placed", "Europe/Rome", "2024-01-05T16:05:00.123456"),  # an instant needs no zone
        ("local", "", "2024-01-05T18:05:00.000000"),  # a time without one is taken as UTC
        ("local", "Europe/Rome", "2024-01-05T17:05:00.000000"),
        ("day", "", "2024-01-05T00:00:00.000000"),
    ],
)
def test_times_with_and_without_a_zone_are_read(ask, column, zone, ts):
    query = ask(f"SELECT customer AS customer_id, {column} AS ts, total AS amount FROM orders WHERE customer = 'ann'")
    log, _ = load_log(query, NOW_US, ColumnMapping(timezone=zone))
    assert str(log.column("ts").astype("datetime64[us]")[0]) == ts


@pytest.mark.slow
def test_a_long_whole_number_beside_a_null_keeps_its_last_digit(ask):
    query = ask("SELECT items AS customer_id, placed AS ts, 1 AS amount FROM orders ORDER BY customer")
    assert load_log(query, NOW_US, max_bad_share=1.0)[0].ids[:] == ["2", "9007199254740993"]


@pytest.mark.slow
def test_a_large_result_comes_in_parts(ask):
    sizes = [len(batch.frame) for batch in read_batches(ask("SELECT * FROM many"))]
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 2
    assert max(sizes) < 600_000


@pytest.mark.slow
def test_a_query_may_end_as_it_is_written_by_people(ask):
    for end in ("", ";", " ;\n", " -- and no more"):
        assert (
            len(read_events(ask(f"SELECT customer AS customer_id, placed AS ts, total AS amount FROM orders{end}")))
            == 3
        )


@pytest.mark.slow
def test_an_empty_result_is_no_events(ask):
    with pytest.raises(EventsError, match="found no rows; expected at least one event"):
        load_log(ask("SELECT customer AS customer_id, placed AS ts, total AS amount FROM orders WHERE false"), NOW_US)


@pytest.mark.slow
def test_order_lines_come_out_of_a_database_too(ask, tmp_path):
    columns = 'customer_id = "customer"\nts = "placed"\namount = "n * total"\nquantity = "n"\norder_id = "id"\n'
    (tmp_path / "lines.toml").write_text(f'rows = "lines"\n[columns]\n{columns}')
    query = ask(
        "SELECT id, customer, placed, n, 1.25 AS total FROM orders, (VALUES (1), (3)) AS lines (n) WHERE items > 0"
    )
    log, _ = load_log(query, NOW_US, read_mapping(tmp_path / "lines.toml"))
    assert log.column("amount").tolist() == [500, 500]


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM orders", 'the server says: column "nothing" does not exist; expected one SELECT'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("", "Correct --sql"),
        ("DELETE FROM orders", "cannot execute DELETE in a read-only transaction"),
        ("CREATE TABLE more (a int)", "cannot execute CREATE TABLE in a read-only transaction"),
        ("SET application_name = 'x'", "which gives no columns, expected a SELECT"),
        ("SELECT price AS amount FROM orders", "Write amount::numeric AS amount in --sql"),
        ("SELECT customer, price FROM orders", "price (money: write price::numeric) in the query 'SELECT customer, pr"),
        ("SELECT customer FROM orders", "in the query 'SELECT customer FROM orders', expected also customer_id, ts"),
        ("SELECT 1 AS ts, 2 AS ts", "found two columns 'ts' in the query"),
        ("SELECT * FROM breaks", "broke off (division by zero), expected all of its rows"),
    ],
)
def test_a_query_that_cannot_be_read_says_why(ask, sql, message):
    assert message in said(ask(sql))


@pytest.mark.slow
def test_a_query_changes_nothing(ask, folder):
    said(ask("DELETE FROM orders"))
    assert len(read_events(ask("SELECT customer AS customer_id, placed AS ts, total AS amount FROM orders"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong%20one"}, 'authentication failed for user "ritorno"'),
        ({"database": "nowhere"}, 'cannot connect to the local socket/nowhere (database "nowhere" does not exist)'),
    ],
)
def test_a_server_that_lets_nobody_in_says_why(ask, change, message):
    text = said(ask("SELECT 1", **change))
    assert message in text
    assert "wrong" not in text


@pytest.mark.slow
def test_an_unreachable_server_is_said():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        text = said(Query("SELECT 1", f"postgresql://ritorno:{SPELLED}@127.0.0.1:{closed.getsockname()[1]}/shop"))
    assert "Connection refused" in text
    assert "Check the host and the port" in text
    assert "could not translate host name" in said(
        Query("SELECT 1", f"postgresql://u:{SPELLED}@no.such.host.invalid/shop")
    )


@pytest.mark.slow
def test_a_server_that_never_answers_is_not_waited_for():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        address = f"postgresql://u:{SPELLED}@127.0.0.1:{silent.getsockname()[1]}/shop?connect_timeout=2"
        assert "timeout expired" in said(Query("SELECT 1", address))
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ritorno:p@ss@localhost/shop",  # libpq would look for a host named ss@localhost, and say so
        "postgresql://ritorno:p/ss@localhost/shop",
        "postgresql://ritorno:secret word@localhost/shop",
        "postgresql://ritorno:secret@localhost:port/shop",
        "mysql://ritorno:secret@localhost/shop",
        "host=localhost user=ritorno password=secret",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url):
    text = said(Query("SELECT 1", url))
    assert "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in text
    assert not {"secret", "ss@"} & set(text.replace("'", " ").split())


def test_a_query_does_not_show_its_database():
    assert "secret" not in repr(Query("SELECT 1", "postgresql://ritorno:secret@localhost/shop"))


def test_without_the_driver_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    assert "pip install 'ritorno[postgres]'" in said(Query("SELECT 1", "postgresql://localhost/shop"))


# ---------------------------------------------------------------- the commands


@pytest.mark.slow
def test_ingest_loads_a_query_once(ask, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RITORNO_EVENTS_DATABASE", ask("").database)
    command = ["--sql", "SELECT * FROM orders"]
    for ours, theirs in COLUMNS.items():
        command += ["--map", f"{ours}={theirs}"]
    assert main(["check", *command, "--format", "html"]) == 0
    assert "the query &#39;SELECT * FROM orders&#39;" in capsys.readouterr().out
    assert main(["ingest", *command, "--store", str(tmp_path / "shop")]) == 0
    assert "3 events added, 0 already known" in capsys.readouterr().out
    assert main(["ingest", *command, "--store", str(tmp_path / "shop")]) == 0
    assert "0 events added, 3 already known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "--sql", "SELECT 1"], "found no database, expected its URL"),
        (["check", "--sql", "SELECT 1"], "found no database, expected its URL"),
        (["ingest", "events.csv", "--sql", "SELECT 1"], "found beside the file events.csv"),
        (["ingest"], "found neither FILE nor --sql"),
        (
            ["ingest", "--sql", "SELECT 1", "--database", "mysql://me:secret@localhost"],
            "found a URL that cannot be read",
        ),
    ],
)
def test_what_is_asked_for_wrongly_is_said(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RITORNO_EVENTS_DATABASE", raising=False)
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "secret" not in printed
