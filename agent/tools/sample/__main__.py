"""Makes the sample database anew: `python -m agent.tools.sample`. The same rows each time, from the numbers below."""

import sqlite3
from datetime import date, timedelta
from pathlib import Path

FILE = Path(__file__).with_name("shop.sqlite")

_SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL,
                        since TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL,
                       price_cents INTEGER NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id),
                     ordered_on TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE order_items (order_id INTEGER NOT NULL REFERENCES orders (id),
                          product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL,
                          PRIMARY KEY (order_id, product_id)) WITHOUT ROWID;
CREATE VIEW order_totals AS
    SELECT o.id AS order_id, o.customer_id, o.ordered_on, o.status, sum(i.quantity * p.price_cents) AS total_cents
    FROM orders o JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id GROUP BY o.id;
"""

_CUSTOMERS = (
    ("Ada Lindqvist", "Stockholm", "Sweden"),
    ("王小明", "上海", "China"),
    ("Bram de Vries", "Utrecht", "Netherlands"),
    ("Chiara Rossi", "Torino", "Italy"),
    ("李娜", "杭州", "China"),
    ("Dmitri Novak", "Brno", "Czechia"),
    ("Eleni Papadaki", "Chania", "Greece"),
    ("Femi Adeyemi", "Lagos", "Nigeria"),
    ("張偉", "台北", "Taiwan"),
    ("Grace O'Neill", "Galway", "Ireland"),
    ("Hiroshi Tanaka", "Kyoto", "Japan"),
    ("Inés Ortega", "Sevilla", "Spain"),
)
_PRODUCTS = (
    ("Longjing green tea", "tea", 1850),
    ("Assam black tea", "tea", 990),
    ("Tieguanyin oolong", "tea", 2400),
    ("Pu'er cake 2019", "tea", 5600),
    ("Jasmine pearls", "tea", 1575),
    ("Gaiwan, white", "ware", 2990),
    ("Yixing teapot", "ware", 8900),
    ("Glass pitcher", "ware", 1990),
    ("Bamboo tray", "ware", 4250),
    ("Almond biscuits", "food", 650),
    ("Osmanthus honey", "food", 1190),
    ("Sesame candy", "food", 480),
)
_STATUSES = ("delivered", "delivered", "delivered", "shipped", "cancelled")
_ORDERS = 240


def build(file: Path) -> None:
    """Writes the database to `file`, which must not exist."""
    connection = sqlite3.connect(file)
    connection.executescript(_SCHEMA)
    first = date(2025, 1, 2)
    connection.executemany(
        "INSERT INTO customers VALUES (?, ?, ?, ?, ?)",
        [(n, *row, (first - timedelta(days=37 * n)).isoformat()) for n, row in enumerate(_CUSTOMERS, 1)],
    )
    connection.executemany(
        "INSERT INTO products VALUES (?, ?, ?, ?)", [(n, *row) for n, row in enumerate(_PRODUCTS, 1)]
    )
    for n in range(1, _ORDERS + 1):
        customer = (n * n // 7 + n) % (len(_CUSTOMERS) - 1) + 1  # unevenly, and the last one never
        day = first + timedelta(days=n * 3 // 2)
        connection.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?)", (n, customer, day.isoformat(), _STATUSES[n * 7 % 5])
        )
        items = {(n * step + step) % len(_PRODUCTS) + 1: (n + step) % 4 + 1 for step in range(1, n % 3 + 2)}
        connection.executemany(
            "INSERT INTO order_items VALUES (?, ?, ?)", [(n, product, count) for product, count in items.items()]
        )
    connection.commit()
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    FILE.unlink(missing_ok=True)
    build(FILE)
