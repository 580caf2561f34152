-- Phase: 3
-- Why: takes back 0026_create_chat.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.chat_history, public.chat_messages, public.chat_session_summaries,
--   public.message_feedback, public.session_state.

drop table public.session_state;
drop table public.message_feedback;
drop table public.chat_session_summaries;
drop table public.chat_messages;
drop table public.chat_history;
