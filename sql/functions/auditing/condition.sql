-- The state of the installation, for `meshmetrics doctor`: what was migrated, whether the catalogue is as the
-- migration left it, what the caller may do, how far the walks got, and which daemon is active.
create or replace function meshmetrics.condition()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'wal_level', current_setting('wal_level'),
    'is_standby', pg_is_in_recovery(),
    'defaults', ( -- of the role, the database or the server, whatever the session has set for itself
      select jsonb_object_agg(s.name, s.reset_val)
      from pg_settings s
      where s.name in (
        'default_transaction_isolation', 'default_transaction_read_only', 'default_transaction_deferrable',
        'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'
      )
    ),
    'migrations', (select jsonb_object_agg(m.version, m.checksum) from meshmetrics.migrations m),
    'release', (select m.release from meshmetrics.migrations m where m.version = 0),
    'sees_transactions', pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
    'owner', quote_ident(current_user), -- of our functions: in a definer function, current_user is the owner
    'not_executable', ( -- by the caller, who is session_user
      select coalesce(jsonb_agg(p.proname order by p.proname), '[]')
      from pg_proc p
      where p.pronamespace = 'meshmetrics'::regnamespace
        and has_function_privilege('meshmetrics_worker', p.oid, 'execute')
        and not has_function_privilege(session_user, p.oid, 'execute')
    ),
    'tenants_read', (
      has_table_privilege('authenticated', 'public.workflow_run_metrics', 'select')
      and has_table_privilege('authenticated', 'public.workflow_run_buckets', 'select')
      and has_table_privilege('authenticated', 'public.workflow_run_project_buckets', 'select')
    ),
    'becomes_tenants', pg_has_role(session_user, 'authenticated', 'member'), -- for the REST API
    'without_row_security', (
      select coalesce(jsonb_agg(c.oid::regclass::text order by c.relname), '[]')
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relrowsecurity
        and (
          n.nspname = 'meshmetrics'
          or (
            n.nspname = 'public'
            and (c.relname like 'workflow\_run\_%' or c.relname like 'workflow\_alert\_%')
          )
        )
    ),
    'channel_policy', exists (
      select from pg_policies p
      where p.schemaname = 'realtime' and p.tablename = 'messages'
        and p.policyname = 'meshmetrics: members receive'
    ),
    'published', exists (
      select from pg_publication_tables t
      join pg_publication p on p.pubname = t.pubname and p.pubinsert and p.pubupdate
      where t.pubname = 'supabase_realtime'
        and t.schemaname = 'public' and t.tablename = 'workflow_runs'
    ),
    'index_valid', ( -- null: there is none
      select i.indisvalid from pg_index i
      where i.indexrelid = to_regclass('public.workflow_runs_updated_at_id')
    ),
    'backfill_done', (select c.done from meshmetrics.checkpoint c where c.name = 'backfill'),
    'lease', (
      select jsonb_build_object(
        'holder', l.holder_name,
        'running', l.expires_at > clock_timestamp(),
        'seconds_ago', extract(epoch from clock_timestamp() - l.renewed_at)::float
      )
      from meshmetrics.lease l
    ),
    'set_aside', (
      select count(*) from meshmetrics.set_aside_runs a
      where exists (select from public.workflow_runs r where r.id = a.run_id)
    )
  );
$$;
