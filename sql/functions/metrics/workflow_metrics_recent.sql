-- How the last runs of each workflow ended, the newest first, at most `most` (1 to 100) of each: all
-- versions together. From the ledger, whose index has them in order; the runs themselves have none.
--
-- Definer, because tenants have no access to the ledger: only versions of projects that
-- user_project_ids() returns to the caller are looked up, which is what every policy says.
create or replace function public.workflow_metrics_recent(
  project_ids uuid[] default null,
  workflow_ids uuid[] default null,
  most integer default 30
)
returns table (
  project_id uuid,
  slug text,
  workflow_id uuid,
  run_id uuid,
  outcome text,
  finished_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, public, pg_temp
set jit = off
as $$
declare
  mine constant uuid[] := array(select public.user_project_ids());
begin
  if most is null or most not between 1 and 100 then
    perform meshmetrics_parts.refuse_parameter('most', most::text, '1 to 100');
  end if;
  return query
  with versions as materialized (
    select d.id, d.project_id, d.slug
    from public.workflow_definitions d
    where d.project_id = any (mine)
      and (project_ids is null or d.project_id = any (project_ids))
      and (
        workflow_ids is null
        or (d.project_id, d.slug) in (
          select w.project_id, w.slug from public.workflow_definitions w where w.id = any (workflow_ids)
        )
      )
  ),
  newest as (
    select
      v.project_id, v.slug, v.id, r.run_id, o.outcome, r.finished_at,
      row_number() over (
        partition by v.project_id, v.slug order by r.finished_at desc, r.run_id
      ) as place
    from versions v
    cross join unnest(enum_range(null::meshmetrics.outcome)) o (outcome)
    cross join lateral (
      select c.run_id, c.finished_at
      from meshmetrics.counted_runs c
      where c.workflow_id = v.id and c.outcome = o.outcome and c.finished_at <= now()
      order by c.finished_at desc
      limit most
    ) r
  )
  select n.project_id, n.slug, n.id, n.run_id, n.outcome::text, n.finished_at
  from newest n
  where n.place <= most
  order by n.project_id, n.slug, n.place;
end;
$$;
