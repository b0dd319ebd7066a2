-- Which buckets to add up, and which to take off again, for each of the periods
-- [first_at[n], last_at[n]): large ones in the middle and small ones at the ends. An end goes to
-- the nearest larger boundary, be it outside the period (a day less its last hour is two pieces,
-- and its 23 other hours are 92 quarters), and to a coming one best of all: up to there, nothing
-- is to be taken off yet. A short period is added up without any of this.
--
-- The periods begin and end where period would have it.
create or replace function meshmetrics_parts.pieces(
  first_at timestamptz[],
  last_at timestamptz[]
)
returns table (n integer, grain text, lower_at timestamptz, upper_at timestamptz, sign integer)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  present constant timestamptz := now();
begin
  return query
  -- materialized: each step works with the results of the one before, not with its expressions.
  with minutes as materialized (
    select
      p.number, p.a, p.b,
      case when x.a - x.a0 > x.a0 + '15 minutes' - x.a or (x.a > x.a0 and x.a0 + '15 minutes' > present)
        then x.a0 + '15 minutes' else x.a0 end as qa,
      case when x.b - x.b0 > x.b0 + '15 minutes' - x.b or (x.b > x.b0 and x.b0 + '15 minutes' > present)
        then x.b0 + '15 minutes' else x.b0 end as qb
    from unnest(first_at, last_at) with ordinality p (a, b, number)
    cross join lateral (
      select
        p.a, p.b,
        date_bin('15 minutes', p.a, '2000-01-01 00:00:00+00') as a0,
        date_bin('15 minutes', p.b, '2000-01-01 00:00:00+00') as b0
    ) x
  ),
  quarters as materialized (
    select
      m.*,
      case when m.qa - x.a0 > interval '12 hours' or (m.qa > x.a0 and x.a0 + '1 day' > present)
        then x.a0 + '1 day' else x.a0 end as da,
      case when m.qb - x.b0 > interval '12 hours' or (m.qb > x.b0 and x.b0 + '1 day' > present)
        then x.b0 + '1 day' else x.b0 end as db
    from minutes m
    cross join lateral (select date_trunc('day', m.qa) as a0, date_trunc('day', m.qb) as b0) x
  ),
  ends as materialized (
    select
      q.*,
      q.b - q.a <= greatest(q.a, q.qa) - least(q.a, q.qa) + greatest(q.b, q.qb) - least(q.b, q.qb)
        as few_minutes,
      q.qb - q.qa <= greatest(q.qa, q.da) - least(q.qa, q.da)
        + greatest(least(q.qb, present), least(q.db, present))
        - least(q.qb, q.db, present)
        as few_quarters
    from quarters q
  )
  select e.number::integer, s.grain, s.lower_at, s.upper_at, s.sign
  from ends e
  cross join lateral (
    values
      ('minute', e.a, e.b, 1, e.few_minutes),
      ('minute', least(e.a, e.qa), greatest(e.a, e.qa), case when e.a < e.qa then 1 else -1 end,
        not e.few_minutes),
      ('minute', least(e.b, e.qb), greatest(e.b, e.qb), case when e.b > e.qb then 1 else -1 end,
        not e.few_minutes),
      ('quarter', e.qa, e.qb, 1, not e.few_minutes and e.few_quarters),
      ('quarter', least(e.qa, e.da), greatest(e.qa, e.da), case when e.qa < e.da then 1 else -1 end,
        not e.few_minutes and not e.few_quarters),
      ('quarter', least(e.qb, e.db), greatest(e.qb, e.db), case when e.qb > e.db then 1 else -1 end,
        not e.few_minutes and not e.few_quarters),
      ('day', e.da, e.db, 1, not e.few_minutes and not e.few_quarters)
  ) s (grain, lower_at, upper_at, sign, needed)
  where s.needed and s.lower_at < s.upper_at;
end;
$$;
