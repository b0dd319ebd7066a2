-- About how many runs lie behind (after_at, after_id) and were updated before `until`, as the
-- planner reckons: at once, whatever the table's size.
create or replace function meshmetrics.estimate_runs(
  after_at timestamptz, after_id uuid, until timestamptz
)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  plan jsonb;
begin
  execute format(
    'explain (format json) select from public.workflow_runs r'
    ' where r.updated_at >= %L and (r.updated_at, r.id) > (%L, %L) and r.updated_at < %L',
    after_at, after_at, after_id, until
  ) into plan;
  return (plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
end;
$$;
