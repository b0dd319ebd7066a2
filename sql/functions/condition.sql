-- How things stand, for `meshmetrics doctor`: what was migrated, how far the walks got, who works,
-- and what was set aside. What it tells of the catalogue anybody may see.
create or replace function meshmetrics.condition()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'migrations', (select jsonb_object_agg(m.version, m.checksum) from meshmetrics.migrations m),
    'sees_transactions', pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
    'lease', (
      select jsonb_build_object(
        'holder', l.holder_name,
        'running', l.expires_at > clock_timestamp(),
        'seconds_ago', extract(epoch from clock_timestamp() - l.renewed_at)
      )
      from meshmetrics.lease l
    ),
    'backfill_done', (select c.done from meshmetrics.checkpoint c where c.name = 'backfill'),
    'set_aside', (
      select count(*) from meshmetrics.set_aside_runs a
      where exists (select from public.workflow_runs r where r.id = a.run_id)
    ),
    'tables_without_row_security', (
      select coalesce(jsonb_agg(c.oid::regclass::text order by c.relname), '[]')
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relrowsecurity
        and (
          n.nspname = 'meshmetrics'
          or (n.nspname = 'public' and c.relname in ('workflow_run_metrics', 'workflow_run_buckets'))
        )
    )
  );
$$;
