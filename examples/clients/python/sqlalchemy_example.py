import os

from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    hashed_password: Mapped[str]


engine = create_engine(os.environ["DATABASE_URL"])
for number in range(10):
    name, email = f"ada{number}", f"ada{number}@example.com"
    with Session(engine) as session, session.begin():
        session.add(User(username=name, email=email, hashed_password="x"))
    with Session(engine) as session:
        assert session.scalar(select(User.email).where(User.username == name)) == email
    with Session(engine) as session, session.begin():
        session.execute(delete(User).where(User.username == name))
