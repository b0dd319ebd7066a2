-- When the oldest transaction under way began: before that no row can appear any more, as
-- updated_at is its transaction's start. now where there is none; null where the owner of this
-- function may not see the transactions of others (that takes pg_read_all_stats, or a superuser).
--
-- An autovacuum, which takes hours on a large table, writes no runs and is not waited for. A
-- prepared transaction does not say when it began: `overlap` before it was prepared at most.
create or replace function meshmetrics.oldest_transaction(overlap interval)
returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select least(
    clock_timestamp(),
    (
      select min(a.xact_start)
      from pg_stat_activity a
      where a.datname = current_database() and a.pid <> pg_backend_pid()
        and a.backend_type is distinct from 'autovacuum worker'
    ),
    (select min(p.prepared) - overlap from pg_prepared_xacts p where p.database = current_database())
  )
  where pg_has_role(current_user, 'pg_read_all_stats', 'usage');
$$;
