-- About how many runs were updated from `after` to before `until`, as the planner reckons: at once,
-- whatever the table's size.
create or replace function meshmetrics.estimate_runs(after timestamptz, until timestamptz)
returns bigint
language plpgsql
volatile -- explain demands it; it changes nothing
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  plan jsonb;
begin
  execute format(
    'explain (format json) select from public.workflow_runs r'
    ' where r.updated_at >= %L and r.updated_at < %L',
    after, until
  ) into plan;
  return (plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
end;
$$;
