-- The stream of changes: workflow_runs joins Supabase's publication.
do $$
begin
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    raise exception 'the publication supabase_realtime is missing: is this a Supabase database?'
      using hint = 'create publication supabase_realtime; then migrate again';
  end if;
  if not exists (
    select from pg_catalog.pg_publication_tables
    where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'workflow_runs'
  ) then
    alter publication supabase_realtime add table public.workflow_runs;
  end if;
end;
$$;
