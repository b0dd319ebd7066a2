-- What keeps meshmetrics from reading the engine's tables or from hearing of their changes, a sentence each;
-- empty where all is as it should be. For the start, the doctor, and the daemon once a minute: the engine
-- may rename a column, or make a table anew, at any time.
create or replace function meshmetrics.source_flaws()
returns text[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  with needed (relation, attribute, type) as (
    values
      ('workflow_runs', 'id', 'uuid'),
      ('workflow_runs', 'project_id', 'uuid'),
      ('workflow_runs', 'workflow_id', 'uuid'),
      ('workflow_runs', 'status', null), -- read as text, whatever it is
      ('workflow_runs', 'started_at', 'timestamp with time zone'),
      ('workflow_runs', 'finished_at', 'timestamp with time zone'),
      ('workflow_runs', 'created_at', 'timestamp with time zone'),
      ('workflow_runs', 'updated_at', 'timestamp with time zone'),
      ('workflow_definitions', 'id', 'uuid'),
      ('workflow_definitions', 'project_id', 'uuid'),
      ('workflow_definitions', 'slug', null),
      ('workflow_definitions', 'name', null),
      ('workflow_definitions', 'version', 'integer'),
      ('projects', 'id', 'uuid'),
      ('projects', 'name', null)
  ),
  tables as (
    select n.relation, c.oid, c.relkind
    from (select distinct relation from needed) n
    left join pg_class c
      on c.relname = n.relation and c.relnamespace = 'public'::regnamespace
  ),
  columns as (
    select n.*, t.oid, a.attnum, format_type(a.atttypid, null) as found
    from needed n
    join tables t on t.relation = n.relation and t.oid is not null
    left join pg_attribute a
      on a.attrelid = t.oid and a.attname = n.attribute and a.attnum > 0 and not a.attisdropped
  ),
  flaws (rank, flaw) as (
    select 1, format('the table public.%s is missing', t.relation)
    from tables t where t.oid is null
    union all
    select 2, format('public.%s has no column %s', c.relation, c.attribute)
    from columns c where c.attnum is null
    union all
    select 3, format('public.%s.%s is of type %s, not %s', c.relation, c.attribute, c.found, c.type)
    from columns c where c.found <> c.type
    union all
    select 4, format('public.workflow_runs is %s, not an ordinary table', case t.relkind
      when 'p' then 'partitioned' when 'v' then 'a view' when 'm' then 'a materialized view'
      else 'a foreign table' end)
    from tables t where t.relation = 'workflow_runs' and t.relkind <> 'r'
    union all
    select 4, 'public.workflow_runs has no primary key: while it is published, updates of it fail'
    from tables t
    join pg_class c on c.oid = t.oid and c.relkind in ('r', 'p') and c.relreplident <> 'f'
    where t.relation = 'workflow_runs' and not exists (
      select from pg_index i where i.indrelid = t.oid and (i.indisprimary or i.indisreplident)
    )
    union all
    select 5, 'workflow_runs is not in the publication supabase_realtime with its inserts and updates'
    from tables t
    where t.relation = 'workflow_runs' and t.oid is not null and not exists (
      select from pg_publication_tables p
      join pg_publication k on k.pubname = p.pubname and k.pubinsert and k.pubupdate
      where p.pubname = 'supabase_realtime' and p.schemaname = 'public'
        and p.tablename = 'workflow_runs'
    )
    union all
    select 6, 'the index workflow_runs_updated_at_id is missing or invalid'
    from tables t
    where t.relation = 'workflow_runs' and t.oid is not null and not exists (
      select from pg_index i
      where i.indexrelid = to_regclass('public.workflow_runs_updated_at_id')
        and i.indrelid = t.oid and i.indisvalid
    )
    union all
    select 7, format('row-level security is off on public.%s: every user reads every row', c.relname)
    from tables t
    join pg_class c on c.oid = t.oid and c.relkind in ('r', 'p') and not c.relrowsecurity
  )
  select array(select f.flaw from flaws f order by f.rank, f.flaw);
$$;
