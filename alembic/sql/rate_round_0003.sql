-- Tells how many processes share the buckets, this one counted, and tidies away at most 10,000 buckets at rest: they say
-- nothing that an absent one does not. A process that has not been here for 15 s counts no more.
create function fanfold.rate_round(p_process uuid, p_is_leaving boolean) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $f$
declare
    moment timestamptz := clock_timestamp();
begin
    delete from fanfold.rate_processes as p
     where p.id = any (array(
           select q.id from fanfold.rate_processes as q
            where q.seen_at < moment - interval '1 minute' or (p_is_leaving and q.id = p_process)
              for update skip locked));
    if not p_is_leaving then
        insert into fanfold.rate_processes as p (id, seen_at) values (p_process, moment)
        on conflict (id) do update set seen_at = moment;
    end if;
    if pg_try_advisory_xact_lock(hashtextextended('fanfold.rate_buckets', 0)) then
        delete from fanfold.rate_buckets as b
         where b.key = any (array(
               select c.key from fanfold.rate_buckets as c where c.rest_at < moment limit 10000 for update skip locked));
    end if;
    return (select count(*) from fanfold.rate_processes as p where p.seen_at > moment - interval '15 seconds');
end
$f$
