-- What a walk waits for: when the oldest transaction under way began (null: this installation may not see the
-- transactions of others), and the role that needs pg_read_all_stats to see them.
create or replace function meshmetrics.transactions_seen(
  overlap interval,
  out oldest timestamptz,
  out owner text
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshmetrics.oldest_transaction(overlap), p.proowner::regrole::text
  from pg_proc p
  where p.oid = 'meshmetrics.oldest_transaction(interval)'::regprocedure;
$$;
