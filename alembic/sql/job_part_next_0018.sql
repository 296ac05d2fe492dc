-- The first part behind a place of which calls miss, and which of them have a result. A worker asks it for each part, so it
-- is one statement, which says itself whose rows are read: row-level security holds as in any transaction of the tenant.
create function fanfold.job_part_next(p_tenant uuid, p_job uuid, p_after integer)
returns table (place integer, done integer[], body bytea)
language plpgsql set search_path = pg_catalog, pg_temp as $f$
begin
  perform set_config('app.tenant_id', p_tenant::text, true);
  return query
    select p.place,
           case when p.missing < p.calls then
             array(select r.call_index from fanfold.job_results r
                    where r.tenant_id = p_tenant and r.job_id = p_job
                      and r.call_index between p.first_index and p.first_index + p.calls - 1) end,
           p.body
      from fanfold.job_parts p
     where p.tenant_id = p_tenant and p.job_id = p_job and p.missing > 0 and p.place > p_after
     order by p.place limit 1;
end
$f$
