-- The time before which no transaction can still add or change a run by updated_at: now() is a
-- transaction's start, so a row may appear behind rows that are long committed.
--
-- That is the start of the oldest transaction under way, where the owner of this function may see
-- the transactions of others (pg_read_all_stats; a superuser); `overlap` ago otherwise. Ten
-- seconds are taken off for what begins while we look and for a clock that is set back. An
-- autovacuum, which takes hours on a large table, writes no runs and is not waited for.
create or replace function meshmetrics.settled_until(overlap interval)
returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when pg_has_role(current_user, 'pg_read_all_stats', 'usage')
        then least(
          clock_timestamp(),
          (
            select min(a.xact_start)
            from pg_stat_activity a
            where a.datname = current_database() and a.pid <> pg_backend_pid()
              and a.backend_type is distinct from 'autovacuum worker'
          ),
          (select min(p.prepared) - overlap from pg_prepared_xacts p where p.database = current_database())
        ) - interval '10 seconds'
      else clock_timestamp() - overlap
    end;
$$;
