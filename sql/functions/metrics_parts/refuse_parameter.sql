-- Refuses a parameter: what it is called, what was given, and what it takes. The same as JSON is
-- in the error's detail, for programs.
create or replace function meshmetrics_parts.refuse_parameter(parameter text, given text, takes text)
returns void
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
  raise exception '% is %: it takes %', parameter, coalesce(given, 'missing'), takes
    using errcode = 'invalid_parameter_value',
      detail = json_build_object('parameter', parameter, 'given', given, 'takes', takes)::text;
end;
$$;
