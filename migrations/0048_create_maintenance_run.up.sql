-- Phase: 4
-- Why: a schedule needs one thing to call. `aiwdb maintain` calls the parts by themselves, to report each.
-- Lock: none that anyone waits for: what is made here is new.

-- As in maintenance.apply_retention, no set clause: a procedure with one may not commit.
create procedure maintenance.run(p_months_ahead integer default 3, p_batch_size integer default 5000)
language plpgsql
as $$
begin
  perform maintenance.make_partitions(p_months_ahead);
  commit;
  call maintenance.apply_retention(p_batch_size);
  perform maintenance.refresh_views();
  commit;
end
$$;

comment on procedure maintenance.run(integer, integer) is
  'All regular maintenance: partitions ahead, retention, refresh of the materialized views.';
revoke execute on procedure maintenance.run(integer, integer) from public;
