import java.awt.BorderLayout;
import java.awt.Component;
import java.awt.Dialog;
import java.awt.EventQueue;
import java.awt.FlowLayout;
import java.awt.Window;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import javax.swing.BorderFactory;
import javax.swing.JButton;
import javax.swing.JDialog;
import javax.swing.JFrame;
import javax.swing.JLabel;
import javax.swing.JList;
import javax.swing.JPanel;
import javax.swing.JPasswordField;
import javax.swing.JScrollPane;
import javax.swing.JTextField;
import javax.swing.WindowConstants;

/**
 * The windows that the gateway's program shows. One order a line on standard input, its words apart by tabs; what a
 * person does is told on standard output the same way. Titles are those that IBC's handlers know.
 *
 * Orders: form USER | code [gone] | list DEVICE... | push | dialog TITLE TEXT | front TITLE | steal | refuse TEXT | close | main
 * Told: shown | code TEXT | chosen DEVICE
 */
public final class Windows {
    private static final String SECOND_FACTOR = "Second Factor Authentication";
    private static final String GATEWAY = "IBKR Gateway";

    private final JFrame frame = new JFrame(GATEWAY);
    private JDialog dialog;
    private JTextField field;
    private JLabel said;

    public static void main(String[] arguments) throws Exception {
        Windows windows = new Windows();
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = orders.readLine(); line != null; line = orders.readLine()) {
            String[] words = line.split("\t", -1);
            EventQueue.invokeAndWait(() -> windows.obey(words));
            tell("shown");
        }
        System.exit(0);
    }

    private static void tell(String... words) {
        System.out.println(String.join("\t", words));
        System.out.flush();
    }

    private void obey(String[] words) {
        switch (words[0]) {
            case "form": form(words[1]); break;
            case "code": close(); code(words[1].equals("gone")); break;
            case "list": close(); list(Arrays.copyOfRange(words, 1, words.length)); break;
            case "push": close(); show(SECOND_FACTOR, new JLabel("Open the notification that was sent to your phone.")); break;
            case "dialog": close(); show(words[1], new JLabel(words[2]), button("OK"), button("Cancel")); break;
            case "front": other(words[1], dialog.getX() + 20, dialog.getY() + 20); break;
            case "steal": other(GATEWAY, 0, 600); break;
            case "refuse": field.setText(""); said.setText(words[1]); break;
            case "close": close(); break;
            case "main": close(); content(new JLabel("API Server: connected")); break;
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    private void form(String user) {
        JTextField name = new JTextField(user, 16);
        JPasswordField password = new JPasswordField("not the password", 16);
        content(new JLabel("Username"), name, new JLabel("Password"), password, button("Log In"));
    }

    private void content(Component... parts) {
        frame.setContentPane(row(parts));
        frame.setSize(700, 500);
        frame.setLocation(150, 120);
        frame.setDefaultCloseOperation(WindowConstants.DO_NOTHING_ON_CLOSE);
        frame.setVisible(true);
    }

    private void code(boolean goes) {
        field = new JTextField(12);
        if (goes) {
            field.addCaretListener(typed -> {
                if (field != null && field.getText().length() == 3) {
                    EventQueue.invokeLater(this::close);
                }
            });
        }
        said = new JLabel("Enter the security code of your Mobile Authenticator App.");
        JButton ok = button("OK");
        ok.addActionListener(pressed -> tell("code", field.getText()));
        show(SECOND_FACTOR, said, field, ok, button("Cancel"));
        dialog.getRootPane().setDefaultButton(ok);
        ok.requestFocusInWindow();
    }

    private void list(String[] devices) {
        JList<String> names = new JList<>(devices);
        JButton ok = button("OK");
        ok.addActionListener(pressed -> tell("chosen", String.valueOf(names.getSelectedValue())));
        show(SECOND_FACTOR, new JLabel("Select second factor device."), new JScrollPane(names), ok, button("Cancel"));
    }

    private void show(String title, Component... parts) {
        dialog = new JDialog(frame, title, Dialog.ModalityType.MODELESS);
        dialog.setContentPane(row(parts));
        dialog.setDefaultCloseOperation(WindowConstants.DO_NOTHING_ON_CLOSE);
        dialog.setSize(420, 180);
        dialog.setLocation(280, 260);
        dialog.setVisible(true);
    }

    private void other(String title, int x, int y) {
        JDialog other = new JDialog(frame, title, Dialog.ModalityType.MODELESS);
        JTextField taking = new JTextField(10);
        other.setContentPane(row(new JLabel("Something else."), taking));
        other.setSize(300, 120);
        other.setLocation(x, y);
        other.setVisible(true);
        taking.requestFocusInWindow();
    }

    private void close() {
        for (Window window : frame.getOwnedWindows()) {
            window.dispose();
        }
        dialog = null;
    }

    private static JButton button(String text) {
        return new JButton(text);
    }

    private static JPanel row(Component... parts) {
        JPanel panel = new JPanel(new FlowLayout(FlowLayout.LEFT, 12, 12));
        panel.setBorder(BorderFactory.createEmptyBorder(8, 8, 8, 8));
        for (Component part : parts) {
            panel.add(part);
        }
        JPanel whole = new JPanel(new BorderLayout());
        whole.add(panel, BorderLayout.CENTER);
        return whole;
    }
}
