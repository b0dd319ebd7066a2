-- The workflows counted at or after a time, in the shape of count_runs' changes, without deltas:
-- what a daemon that starts sends again, because the last one may have died before it could.
create or replace function meshmetrics.changed_since(since timestamptz)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(
    jsonb_agg(
      to_jsonb(m) || jsonb_build_object('slug', d.slug, 'base_revision', m.revision, 'deltas', null)
    ),
    '[]'
  )
  from public.workflow_run_metrics m
  join public.workflow_definitions d on d.id = m.workflow_id
  where m.last_updated >= since;
$$;
