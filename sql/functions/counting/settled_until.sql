-- The time before which no transaction can still add a run or change one: now() is a
-- transaction's start, so a row may appear behind rows that are long committed.
--
-- That is the start of the oldest transaction under way, where it can be seen; `overlap` ago
-- otherwise. Ten seconds are taken off for transactions that begin meanwhile and for a clock that is set
-- back.
create or replace function meshmetrics.settled_until(overlap interval)
returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    meshmetrics.oldest_transaction(overlap) - interval '10 seconds', clock_timestamp() - overlap
  );
$$;
