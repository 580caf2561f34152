import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashSet;

/** Takes all connections of HikariCP's pool as it is by default, and prints how many server connections they have. */
public class DefaultPool {
  public static void main(String[] arguments) throws SQLException {
    try (var source = new HikariDataSource(new HikariConfig("hikari.properties"))) {
      var taken = new ArrayList<Connection>();
      var servers = new HashSet<Integer>();
      while (taken.size() < source.getMaximumPoolSize()) {
        var connection = source.getConnection();
        taken.add(connection);
        try (var rows = connection.createStatement().executeQuery("select pg_backend_pid()")) {
          rows.next();
          servers.add(rows.getInt(1));
        }
      }
      System.out.println(servers.size());
      for (var connection : taken) connection.close();
    }
  }
}
