-- The workflow versions that the caller may see and that are asked for (null: all): of these
-- projects; of these workflows, of which any version's id may be given; whose name or slug in any
-- version contains `search`. version_mode 'all': all versions of such a workflow; 'one': only the
-- very versions given; 'newest': only its newest, whichever was given.
--
-- The name is cut to 200 characters: MeshHook takes one of any length.
create or replace function meshmetrics_parts.members(
  project_ids uuid[],
  workflow_ids uuid[],
  search text,
  version_mode text
)
returns table (workflow_id uuid, project_id uuid, slug text, version integer, name text)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Only to lead to the rows by index: who may see them, the policies say.
  projects constant uuid[] := coalesce(project_ids, array(select public.user_project_ids()));
begin
  if version_mode is null or version_mode not in ('all', 'one', 'newest') then
    perform meshmetrics_parts.refuse_parameter('version_mode', version_mode, 'all, one or newest');
  end if;
  return query
  with visible as materialized (
    select d.id, d.project_id, d.slug, d.version, d.name
    from public.workflow_definitions d
    where d.project_id = any (projects)
  ),
  matching as (
    select v.project_id, v.slug
    from visible v
    where (workflow_ids is null or v.id = any (workflow_ids))
      and (
        search is null
        or position(lower(search) in lower(v.name)) > 0
        or position(lower(search) in lower(v.slug)) > 0
      )
  ),
  newest as (
    select distinct on (v.project_id, v.slug) v.id
    from visible v
    order by v.project_id, v.slug, v.version desc
  )
  select v.id, v.project_id, v.slug, v.version, left(v.name, 200)
  from visible v
  where (v.project_id, v.slug) in (select w.project_id, w.slug from matching w)
    and case version_mode
      when 'all' then true
      when 'one' then workflow_ids is null or v.id = any (workflow_ids)
      else v.id in (select n.id from newest n)
    end;
end;
$$;
