import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.SQLException;

public class Example {
  public static void main(String[] arguments) throws SQLException {
    try (var source = new HikariDataSource(new HikariConfig("hikari.properties"))) {
      for (int number = 0; number < 10; number++) {
        var name = "ada" + number;
        var email = name + "@example.com";
        try (var connection = source.getConnection()) {
          connection.setAutoCommit(false);
          try (var insert = connection.prepareStatement(
              "insert into users (username, email, hashed_password) values (?, ?, 'x')")) {
            insert.setString(1, name);
            insert.setString(2, email);
            insert.executeUpdate();
            connection.commit();
          } catch (SQLException error) {
            connection.rollback();
            throw error;
          }
        }
        try (var connection = source.getConnection();
            var read = connection.prepareStatement("select email from users where username = ?");
            var delete = connection.prepareStatement("delete from users where username = ?")) {
          read.setString(1, name);
          try (var rows = read.executeQuery()) {
            if (!rows.next() || !rows.getString(1).equals(email)) throw new IllegalStateException("not read: " + name);
          }
          delete.setString(1, name);
          delete.executeUpdate();
        }
      }
    }
  }
}
