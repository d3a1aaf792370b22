"""The texts of the statement's common table expressions, with blanks for what `features.sql_statement` fills in."""

from features.events import DAY_US, FIRST_CUSTOM, REFUND
from features.runs import REFUNDABLE

SHOP = f"shop AS (\n  SELECT CAST((MIN(t) - MIN(t) % {DAY_US}) / {DAY_US} AS BIGINT) AS first_day FROM events\n)"
KNOWN = """\
known AS (
  SELECT customer_id, place, t, CAST((t - t % {day}) / {day} AS BIGINT) AS day, event, channel, amount, quantity,
    discount, category, value, order_key
  FROM events WHERE t <= {as_of}
)"""
SEASON = """\
season AS (
  SELECT CASE WHEN COUNT(*) * {days} >= {least} THEN CAST(
      COALESCE(SUM(CASE WHEN y.age % {year} BETWEEN {earliest} AND {latest} THEN 1 ELSE 0 END), 0) * {year} AS {double}
    ) / NULLIF(CAST(COUNT(*) * {days} AS {double}), 0e0) END AS ratio
  FROM (
    SELECT {until} - k.day AS age, {until} + 1 - shop.first_day - ({until} + 1 - shop.first_day) % {year} AS whole_years
    FROM known k CROSS JOIN shop WHERE k.event = {goal}
  ) y WHERE y.age >= 0 AND y.age < y.whole_years
)"""
REFUNDS = f"""\
refunds AS (
  SELECT r.customer_id, r.place, MAX(r.amount) AS amount, COALESCE(
      MAX(CASE WHEN o.event IN ({", ".join(map(str, REFUNDABLE))}) THEN o.place END),
      MAX(CASE WHEN o.event >= {FIRST_CUSTOM} THEN o.place END)
    ) AS order_place
  FROM known r LEFT JOIN known o
    ON o.customer_id = r.customer_id AND o.order_key = r.order_key AND o.place < r.place
  WHERE r.event = {REFUND} GROUP BY r.customer_id, r.place
)"""
RETURNED = """\
returned AS (
  SELECT customer_id, order_place, CAST(SUM(amount) AS BIGINT) AS amount
  FROM refunds WHERE order_place IS NOT NULL GROUP BY customer_id, order_place
)"""
SETTLED = """\
settled AS (
  SELECT k.customer_id, k.place, k.t, k.day, k.event, k.channel, k.quantity, k.discount, k.category, k.value,
    CASE WHEN k.event = {goal} THEN k.amount + COALESCE(b.amount, 0) ELSE k.amount END AS amount,
    k.event = {goal} AND (b.amount IS NULL OR k.amount + b.amount > 0) AS kept,
    COALESCE(k.place - r.order_place, 0) AS link
  FROM known k
  LEFT JOIN returned b ON b.customer_id = k.customer_id AND b.order_place = k.place
  LEFT JOIN refunds r ON r.customer_id = k.customer_id AND r.place = k.place
)"""
DAYS = """\
days_{number} AS (
  SELECT s.customer_id, s.day, MIN(s.t) AS t FROM settled s WHERE {stream} GROUP BY s.customer_id, s.day
)"""
BEGINNINGS = """\
beginnings_{number} AS (
  SELECT a.customer_id, a.t
  FROM (
    SELECT s.customer_id, s.t, s.t - LAG(s.t) OVER (PARTITION BY s.customer_id ORDER BY s.place) AS silence
    FROM settled s WHERE {stream}
  ) a WHERE a.silence IS NULL OR a.silence > {silence}
)"""
GAPS = """\
gaps_{number} AS (
  SELECT g.customer_id, g.t, g.gap, g.days_later, {logs} AS log_gap
  FROM (
    SELECT customer_id, t, day - LAG(day) OVER (PARTITION BY customer_id ORDER BY day) AS gap,
      COUNT(*) OVER (PARTITION BY customer_id) - ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY day) AS days_later
    FROM days_{number}
  ) g
)"""
MOMENTS = {
    "count": "COUNT(g.gap)",
    "total": "CAST(SUM(g.gap) AS BIGINT)",
    "squares": "CAST(SUM(g.gap * g.gap) AS BIGINT)",
    "log_total": "CAST(SUM(g.log_gap) AS BIGINT)",
    "log_squares": "CAST(SUM(g.log_gap * g.log_gap) AS BIGINT)",
    "last": "MAX(CASE WHEN g.days_later = 0 THEN g.gap END)",
    "log_last": "MAX(CASE WHEN g.days_later = 0 THEN g.log_gap END)",
    "largest": "MAX(g.gap)",
    "smallest": "MIN(g.gap)",
}
